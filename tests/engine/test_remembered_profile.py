"""A profile is remembered from start to start; one that is not to be trusted is taken anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cpp_chunk.engine.profile.passes import MAX_PASSES_DISTURBED

from benchmarks.engine_faults import engine_log

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

# A warm-up and two probes, and these once more where the machine is busy.
MIN_PASSES_REMEMBERED = 3
MAX_PASSES_REMEMBERED = 5
# Whose file is refused, and what the warning says of it.
REFUSED = {
    "another key": "is of another deployment, with another block_size",
    "link": "is a symbolic link",
}


@pytest.fixture(scope="module")
def starts(
    run_script: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    elsewhere: Path = tmp_path_factory.mktemp("elsewhere")
    return engine_log.facts(run_script("remembered_script.py", str(elsewhere)))


def test_the_first_start_measures(starts: dict[str, Any]) -> None:
    first = starts["first"]
    assert first["source"] == "measured"
    assert MAX_PASSES_REMEMBERED < first["num_passes"] <= MAX_PASSES_DISTURBED
    assert first["target_ms"] > 0
    assert first["warnings"] == []


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_file_gets_one_warning(starts: dict[str, Any], case: str) -> None:
    [warning] = starts[case]["warnings"]
    assert "remembered profile not used" in warning
    assert REFUSED[case] in warning


def test_a_profile_that_does_not_hold_is_no_fault(starts: dict[str, Any]) -> None:
    assert starts["faster"]["warnings"] == []
    # The probes that told so are among them.
    assert starts["faster"]["num_passes"] <= MAX_PASSES_DISTURBED


@pytest.mark.parametrize("case", [*REFUSED, "faster"])
def test_it_is_measured_anew(starts: dict[str, Any], case: str) -> None:
    assert starts[case]["source"] == "measured"
    assert starts[case]["target_ms"] > 0


@pytest.mark.parametrize("case", [*REFUSED, "faster"])
def test_a_good_file_takes_its_place(starts: dict[str, Any], case: str) -> None:
    facts = starts[case]
    assert facts["is_regular"]
    assert MAX_PASSES_REMEMBERED < facts["passes_in_file"] < MAX_PASSES_DISTURBED
    assert len(facts["files"]) == 1


def test_what_a_link_leads_to_is_left_alone(starts: dict[str, Any]) -> None:
    assert not starts["link"]["is_kept"]
    assert starts["link"]["is_outside_as_before"]


def test_the_next_start_remembers(starts: dict[str, Any]) -> None:
    before, again = starts["faster"], starts["again"]
    assert again["source"] == "remembered"
    assert again["num_passes"] in {MIN_PASSES_REMEMBERED, MAX_PASSES_REMEMBERED}
    assert again["models"] == before["models"]
    assert again["target_ms"] == before["target_ms"]
    assert again["is_kept"]
    assert again["warnings"] == []
