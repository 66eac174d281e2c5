"""`cpp-chunk profile`: what is remembered, shown and forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from command import complaint, run
from cpp_chunk.records.cache_dir import CACHE_DIR_VARIABLE
from cpp_chunk.records.profile_store import ProfileStore
from remembered import MODELS, PASSES, deployment, profile

if TYPE_CHECKING:
    from pathlib import Path

OTHER = deployment(model="other/model", tensor_parallel_size=1)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProfileStore:
    monkeypatch.setenv(CACHE_DIR_VARIABLE, str(tmp_path))
    return ProfileStore.of_user()


@pytest.fixture
def both(store: ProfileStore) -> ProfileStore:
    store.save(profile())
    store.save(profile(OTHER))
    return store


def test_nothing_is_remembered() -> None:
    assert run("profile", "list").out == "no profiles are remembered\n"
    assert run("profile", "list", "--json").json == []
    assert run("profile", "rm", "--all").out == "no profiles are remembered\n"
    assert complaint("profile", "show", "12") == (
        "DIGEST is '12': allowed is that of a remembered profile, and there are none."
    )


def test_the_list(both: ProfileStore) -> None:
    both.path(deployment(block_size=32)).write_text("{")
    both.path(deployment(block_size=32)).chmod(0o600)
    outcome = run("profile", "list")
    assert outcome.code == 0
    [line] = [line for line in outcome.out.splitlines() if deployment().digest in line]
    for word in (
        "some/model",
        "a device",
        "PP 2 (4,4 layers), TP 4",
        "2026-01-31 12:00",
        f" {len(PASSES)} ",
        "9.1 %",
    ):
        assert word in line
    assert OTHER.digest in outcome.out
    [problem] = [line for line in outcome.out.splitlines() if line.startswith("not used: ")]
    assert "is not JSON" in problem


def test_the_list_as_json(both: ProfileStore) -> None:
    both.path(deployment(block_size=32)).touch(mode=0o666)
    both.path(deployment(block_size=32)).chmod(0o666)
    entries = {entry["digest"]: entry for entry in run("profile", "list", "--json").json}
    assert len(entries) == 3
    entry = entries[OTHER.digest]
    assert entry["path"] == str(both.path(OTHER))
    assert entry["problem"] is None
    assert entry["deployment"] == OTHER.model_dump()
    assert entry["num_passes"] == len(PASSES)
    assert entry["mean_relative_error"] == pytest.approx(1 - 1 / 1.1)
    assert "writable for everybody" in entries[deployment(block_size=32).digest]["problem"]


def test_one_profile(both: ProfileStore) -> None:
    outcome = run("profile", "show", deployment().digest[:6])
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0] == f"{deployment().digest}  {both.path(deployment())}"
    assert lines[1] == ("measured at 2026-01-31 12:00 UTC, in 3.5 s; mean error 9.1 % on 4 passes")
    assert any(line.split() == ["layers_of_stages", "4,4"] for line in lines)
    assert any(line.split() == ["block_size", "16"] for line in lines)
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
    assert ["1", "0.0001", "0.0001", "0.06", "0.001", "3"] in cells
    for unit in ("ms/token²", "ms/token", "0.5 ms between steps"):
        assert unit in outcome.out
    predicted = [model.step_ms([(256, 4096)]) for model in MODELS]
    measured_and_predicted = [f"{ms:.2f}" for one in predicted for ms in (1.1 * one, one)]
    assert ["256", "4096", *measured_and_predicted] in cells


def test_one_profile_as_json(both: ProfileStore) -> None:
    shown = run("profile", "show", OTHER.digest, "--json").json
    assert shown["digest"] == OTHER.digest
    assert shown["stages"][0]["linear"] == 0.05
    assert len(shown["passes"]) == len(PASSES)
    assert shown["deployment"]["model"] == "other/model"


def test_plan_reads_what_is_shown(both: ProfileStore) -> None:
    path = run("profile", "show", OTHER.digest, "--json").json["path"]
    planned = run("plan", "--profile", path, "--prompt-tokens", 4096, "--json").json
    assert planned["stages"][1]["constant"] == 3.0
    assert planned["gap_ms"] == 0.5


def test_a_name_must_be_clear(both: ProfileStore) -> None:
    # Two names that begin alike.
    for name in ("ab12", "ab13"):
        (both.path(OTHER).parent / f"{name}.json").touch()
    assert complaint("profile", "show", "ab1") == (
        "DIGEST is 'ab1': allowed is more of its digits, since it stands for ab12, ab13."
    )
    assert complaint("profile", "show", "xyz").startswith("DIGEST is 'xyz': allowed is one of ")
    assert complaint("profile", "show", "").startswith("DIGEST is '': allowed is one of ")
    sentence = complaint("profile", "show", "ab12")
    assert sentence.startswith("DIGEST is 'ab12', of a file that is not used: ")
    assert sentence.endswith(".")


def test_removal(both: ProfileStore) -> None:
    outcome = run("profile", "rm", OTHER.digest[:8])
    assert (outcome.code, outcome.out) == (0, f"removed {OTHER.digest}\n")
    assert both.load(OTHER) is None
    assert both.load(deployment()) is not None


def test_nothing_is_removed_where_one_name_is_wrong(both: ProfileStore) -> None:
    assert complaint("profile", "rm", OTHER.digest, "xyz").startswith("DIGEST is 'xyz'")
    assert both.load(OTHER) is not None


def test_all_are_removed_the_unreadable_too(both: ProfileStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch()
    both.path(deployment(block_size=32)).symlink_to(outside)
    assert run("profile", "rm", "--all").code == 0
    assert both.entries() == []
    assert outside.exists()


def test_which_ones_must_be_said(both: ProfileStore) -> None:
    assert complaint("profile", "rm") == (
        "DIGEST and --all: neither given, allowed is one of them."
    )
    assert complaint("profile", "rm", "--all", OTHER.digest) == (
        "DIGEST and --all: both given, allowed is one of them."
    )
    assert len(both.entries()) == 2


def test_without_a_command_the_commands_are_shown() -> None:
    outcome = run("profile")
    assert (outcome.code, outcome.err) == (0, "")
    for name in ("list", "show", "rm"):
        assert f" {name} " in outcome.out
