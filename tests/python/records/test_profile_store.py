"""Remembered profiles: found again for the same deployment, and never trusted beyond that."""

from __future__ import annotations

import json
import logging
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
from cpp_chunk.records.profile_file import PipelineProfile, profile_bytes, read_profile
from cpp_chunk.records.profile_store import MAX_BYTES, ProfileStore
from remembered import deployment, mount_with_fs_group, profile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cpp_chunk.records.profile_file import PipelineProfile as Profile

OTHER = deployment(block_size=32)


@pytest.fixture
def store(tmp_path: Path) -> ProfileStore:
    return ProfileStore(tmp_path / "profiles")


def test_what_is_saved_is_loaded(store: ProfileStore) -> None:
    store.save(profile())
    assert store.load(deployment()) == profile()
    assert store.load(OTHER) is None


def test_a_file_is_one_that_plan_reads(store: ProfileStore, tmp_path: Path) -> None:
    store.save(profile())
    path = store.path(deployment())
    assert path == tmp_path / "profiles" / f"{deployment().digest}.json"
    assert read_profile(path) == profile()


def test_a_profile_takes_the_place_of_an_older_one(store: ProfileStore) -> None:
    store.save(profile())
    store.save(profile(gap_ms=0.75))
    loaded = store.load(deployment())
    assert loaded is not None
    assert loaded.gap_ms == 0.75
    assert len(store.entries()) == 1


def test_profiles_are_remembered_on_a_volume_of_kubernetes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    for gap_ms in (0.5, 0.75):
        mount_with_fs_group(volume)
        store = ProfileStore(volume / "profiles")
        store.save(profile(gap_ms=gap_ms))
        mount_with_fs_group(volume)
        loaded = store.load(deployment())
        assert loaded is not None
        assert loaded.gap_ms == gap_ms
    assert caplog.records == []


def test_none_is_remembered(store: ProfileStore, caplog: pytest.LogCaptureFixture) -> None:
    assert store.load(deployment()) is None
    assert store.entries() == []
    assert caplog.records == []


def test_of_nothing_nothing_is_saved(store: ProfileStore) -> None:
    with pytest.raises(ValueError, match="without a deployment"):
        store.save(profile().model_copy(update={"deployment": None}))


def document(**changes: Any) -> bytes:
    return json.dumps(json.loads(profile_bytes(profile())) | changes).encode()


def one_stage(num_passes_wrong: int = 4) -> bytes:
    values = json.loads(document())
    for one in values["passes"][:num_passes_wrong]:
        one["stage_ms"] = one["stage_ms"][:1]
    return json.dumps(values).encode()


def written(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(content)
        path.chmod(0o600)

    return write


def world_writable(path: Path) -> None:
    path.write_bytes(document())
    path.chmod(0o666)


def zeros(path: Path) -> None:
    path.touch(mode=0o600)
    # Takes no room on the disk.
    os.truncate(path, 1_000_000_000)


def link_to_a_valid_profile(path: Path) -> None:
    elsewhere = path.parent.parent / "elsewhere.json"
    elsewhere.write_bytes(document())
    elsewhere.chmod(0o600)
    path.symlink_to(elsewhere)


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


BAD_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (written(document()[:-20]), "is not JSON"),
    "empty": (written(b""), "is not JSON"),
    "zeros": (written(bytes(1000)), "is not JSON"),
    "not text": (written(b"\xff\xfe\x00x"), "is not JSON"),
    "deep": (written(b"[" * MAX_BYTES), "is not JSON"),
    "endless number": (written(b'{"version": ' + b"9" * 5000 + b"}"), "is not JSON"),
    "a list": (written(b"[]"), "holds a JSON list"),
    "a trace": (written(b'{"event": "model", "stages": [], "gap_ms": 0}'), "stages is"),
    "another format": (written(document(format="other")), "format is 'other'"),
    "another version": (written(document(version=2)), "version is 2"),
    "another schema": (written(document(colour="red")), "colour is not a known key"),
    "no number": (written(document(gap_ms=float("nan"))), "gap_ms is nan"),
    "a huge number": (written(document(gap_ms=10**4000)), "gap_ms is"),
    "no stages": (written(document(stages=[])), "stages is"),
    "too many stages": (
        written(document(stages=3 * [json.loads(document())["stages"][0]])),
        "stages has 3 entries: allowed are 2",
    ),
    "stages of passes": (written(one_stage(1)), r"passes\.0\.stage_ms has 1 entries"),
    "no passes": (written(document(passes=[])), "holds no passes"),
    "a time of 0": (
        written(document(passes=[{"num_tokens": 1, "num_computed_tokens": 0, "stage_ms": [0, 1]}])),
        r"passes\.0\.stage_ms\.0 is 0: allowed is a list of finite numbers",
    ),
    "negative history": (
        written(
            document(passes=[{"num_tokens": 1, "num_computed_tokens": -1, "stage_ms": [1, 1]}])
        ),
        r"passes\.0\.num_computed_tokens is -1: allowed is a whole number of tokens of at least 0",
    ),
    "local time": (written(document(measured_at="2026-01-31T12:00:00")), "measured_at is"),
    "no deployment": (written(document(deployment=None)), "of which deployment"),
    "half a deployment": (
        written(document(deployment={"model": "x"})),
        r"deployment\.model_config_sha256 is missing\. Needed are model, model_config_sha256",
    ),
    "another key": (
        written(profile_bytes(profile(OTHER))),
        "of another deployment, with another block_size",
    ),
    "world-writable": (world_writable, r"is writable for everybody \(mode 666\)"),
    "a link to a valid profile": (link_to_a_valid_profile, "is a symbolic link"),
    "a link to itself": (link_to_itself, "is a symbolic link"),
    "1 GB of zeros": (zeros, "is 1000000000 bytes long: allowed are 1048576"),
    "a folder": (lambda path: path.mkdir(), "is no regular file"),
    "a pipe": (lambda path: os.mkfifo(path, 0o600), "is no regular file"),
}


def state(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Of every file below: what changes when it is written."""
    return {
        str(path): (found.st_mode, found.st_size, found.st_mtime_ns)
        for path in folder.rglob("*")
        for found in [path.lstat()]
    }


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Whatever the store opens."""
    paths: list[Any] = []
    real_open = os.open

    def watched(path: Any, *args: Any, **kwargs: Any) -> int:
        paths.append(path)
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr("os.open", watched)
    return paths


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_ignored_with_one_warning(
    store: ProfileStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    opened: list[Any],
    name: str,
) -> None:
    make, words = BAD_FILES[name]
    path = store.path(deployment())
    path.parent.mkdir()
    make(path)
    before = state(tmp_path)
    opened.clear()
    assert store.load(deployment()) is None
    # A link is not opened either: that is refused.
    assert opened == [path]
    assert state(tmp_path) == before
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert str(path) in record.getMessage()
    assert "\n" not in record.getMessage()
    assert len(record.getMessage()) < 1000
    assert re.search(words, record.getMessage())
    # It is in the list as well, with the reason, and a new profile takes its place.
    [entry] = store.entries()
    assert entry.profile is None
    assert entry.problem is not None
    if not path.is_dir():
        store.save(profile())
        assert store.load(deployment()) == profile()
        elsewhere = tmp_path / "elsewhere.json"
        if elsewhere.exists():
            assert elsewhere.read_bytes() == document()


def test_another_users_file(
    store: ProfileStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store.save(profile())
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    assert store.load(deployment()) is None
    assert len(caplog.records) == 1
    assert "belongs to another user" in caplog.text


def test_only_the_file_of_the_deployment_is_opened(store: ProfileStore, opened: list[Any]) -> None:
    store.save(profile())
    store.save(profile(OTHER))
    opened.clear()
    assert store.load(deployment()) is not None
    assert opened == [store.path(deployment())]


def test_entries_and_removal(store: ProfileStore) -> None:
    store.save(profile())
    store.save(profile(OTHER))
    store.path(OTHER).with_name("notes.txt").touch()
    entries = store.entries()
    assert {entry.digest for entry in entries} == {deployment().digest, OTHER.digest}
    by_digest: dict[str, Profile | None] = {entry.digest: entry.profile for entry in entries}
    assert by_digest[OTHER.digest] == profile(OTHER)
    assert isinstance(by_digest[deployment().digest], PipelineProfile)
    store.remove(OTHER.digest)
    assert [entry.digest for entry in store.entries()] == [deployment().digest]
    with pytest.raises(FileNotFoundError):
        store.remove(OTHER.digest)


def test_removal_stays_in_the_folder(store: ProfileStore, tmp_path: Path) -> None:
    store.save(profile())
    outside = tmp_path / "outside.json"
    outside.touch()
    with pytest.raises(FileNotFoundError):
        store.remove("../outside")
    assert outside.exists()
    store.path(OTHER).symlink_to(outside)
    store.remove(OTHER.digest)
    assert outside.exists()


def test_a_copied_file_is_no_entry_of_its_name(store: ProfileStore) -> None:
    store.save(profile())
    copy = store.path(OTHER)
    copy.write_bytes(store.path(deployment()).read_bytes())
    copy.chmod(0o600)
    [problem] = [entry.problem for entry in store.entries() if entry.path == copy]
    assert problem is not None
    assert deployment().digest in problem


def test_saving_raises_where_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(OSError, match="taken"):
        ProfileStore(tmp_path / "taken").save(profile())


def test_the_error_is_that_of_the_worst_stage() -> None:
    # Measured 10 % slower than predicted.
    assert profile().mean_relative_error == pytest.approx(1 - 1 / 1.1)
    assert profile(passes=[]).mean_relative_error is None
