"""The last engine's report: kept, and only one of ours is read."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
from cpp_chunk.records.cache_dir import CACHE_DIR_VARIABLE
from cpp_chunk.records.last_run import LastRun, last_run_file, read_last_run, write_last_run
from cpp_chunk.records.utc_time import utc_now
from pydantic import ValidationError
from remembered import mount_with_fs_group

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_DIR_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def run() -> LastRun:
    return LastRun(
        at=utc_now(),
        model="some/model",
        deployment="0123456789abcdef",
        vllm_version="0.32.0",
        cpp_chunk_version="0.1.0",
        chunks="dynamic",
        target_ms=156.0,
        median_error=0.02,
        measured_steps=20,
        refits=2,
        fallbacks={"no fit": 1},
        profile="measured",
        profile_passes=23,
        profile_s=3.5,
    )


def test_what_is_written_is_read(cache: Path) -> None:
    assert read_last_run() is None
    write_last_run(run())
    assert last_run_file() == cache / "reports" / "last_run.json"
    assert stat.S_IMODE(last_run_file().stat().st_mode) == 0o600
    assert read_last_run() == run().model_copy(update={"at": read_last_run().at})  # type: ignore[union-attr]


def test_who_writes_is_told_that_it_cannot_be(cache: Path) -> None:
    cache.write_text("a file in the folder's place")
    with pytest.raises(OSError, match="cache"):
        write_last_run(run())
    assert read_last_run() is None


@pytest.mark.parametrize("volume_mode", [0o755, 0o777, 0o2770, 0o2777])
def test_it_is_kept_on_a_volume_of_kubernetes(cache: Path, volume_mode: int) -> None:
    """The volume's own folder is open to a group (`fsGroup`), or to all (`emptyDir`)."""
    cache.mkdir()
    cache.chmod(volume_mode)
    for measured_steps in (1, 2):
        write_last_run(run().model_copy(update={"measured_steps": measured_steps}))
        mount_with_fs_group(cache)
        found = read_last_run()
        assert found is not None
        assert found.measured_steps == measured_steps


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"chunks": "dynamic"}', bytes(1 << 17)])
def test_another_file_is_no_report(content: bytes) -> None:
    last_run_file().parent.mkdir(parents=True)
    last_run_file().write_bytes(content)
    last_run_file().chmod(0o600)
    assert read_last_run() is None


def test_a_file_that_others_may_write_is_no_report() -> None:
    write_last_run(run())
    last_run_file().chmod(0o666)
    assert read_last_run() is None


@pytest.mark.parametrize("at", ["yesterday", "2026-01-31T12:00:00", "2026-01-31T12:00:00+02:00"])
def test_times_are_utc(at: str) -> None:
    with pytest.raises(ValidationError, match="at"):
        LastRun(**(run().model_dump() | {"at": at}))
