"""Our figures, from the engine core's file to the metrics page."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cpp_chunk.records.status import (
    STATUS_FILE_VARIABLE,
    EngineStatus,
    make_status_file,
    read_status,
    write_status,
)
from cpp_chunk.report.metrics import EngineCollector
from prometheus_client import CollectorRegistry, generate_latest

if TYPE_CHECKING:
    from pathlib import Path


def page(path: Path) -> str:
    registry = CollectorRegistry()
    registry.register(EngineCollector(path))
    return generate_latest(registry).decode()


def test_the_figures_in_base_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "status.json"
    monkeypatch.setenv(STATUS_FILE_VARIABLE, str(path))
    write_status(
        EngineStatus(
            fallbacks={"choosing a chunk": 1},
            measured_steps=20,
            refits=2,
            target_ms=156.0,
            mean_relative_error=0.02,
        )
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = page(path)
    assert 'cpp_chunk:fallbacks_total{reason="choosing a chunk"} 1.0' in text
    assert "cpp_chunk:measured_steps_total 20.0" in text
    assert "cpp_chunk:refits_total 2.0" in text
    assert "cpp_chunk:target_seconds 0.156" in text
    assert "cpp_chunk:model_error_ratio 0.02" in text


def test_nothing_written_yet_or_rubbish(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    rubbish = tmp_path / "rubbish"
    rubbish.write_text('{"refits": "many"')
    for path in (missing, rubbish):
        assert "cpp_chunk:refits_total 0.0" in page(path)


def test_without_a_front_end_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STATUS_FILE_VARIABLE, raising=False)
    write_status(EngineStatus(refits=1))


@pytest.fixture
def status_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that a front end names, in a temporary folder of the test's."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv(STATUS_FILE_VARIABLE, "")
    return make_status_file()


def test_the_file_lies_in_a_folder_that_is_the_users_own(status_path: Path, tmp_path: Path) -> None:
    folder = status_path.parent
    assert folder.parent == tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert read_status(status_path) == EngineStatus()
    write_status(EngineStatus(refits=1))
    assert stat.S_IMODE(status_path.stat().st_mode) == 0o600
    assert read_status(status_path).refits == 1
    assert list(folder.iterdir()) == [status_path]


def test_a_planted_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lies beside the file or in its place, under whichever name of ours."""
    path, target = tmp_path / "status.json", tmp_path / "target"
    target.write_bytes(b"as it was")
    monkeypatch.setenv(STATUS_FILE_VARIABLE, str(path))
    for name in ("status.json", f"status.json.{os.getpid()}", "status.json.tmp"):
        (tmp_path / name).symlink_to(target)
    assert read_status(path) == EngineStatus()
    write_status(EngineStatus(refits=1))
    assert target.read_bytes() == b"as it was"
    assert not path.is_symlink()
    assert read_status(path).refits == 1


def test_the_folder_goes_with_the_front_end(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from cpp_chunk.records.status import EngineStatus, make_status_file, write_status\n"
        "path = make_status_file()\n"
        "write_status(EngineStatus(refits=1))\n"
        "assert path.is_file()\n"
        # A forked child has the same path, but must leave it where it is.
        "child = os.fork()\n"
        "if child == 0:\n"
        "    sys.exit()\n"
        "os.waitpid(child, 0)\n"
        "assert path.is_file()\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_outlives_the_front_end_leaves_nothing(status_path: Path) -> None:
    shutil.rmtree(status_path.parent)
    write_status(EngineStatus(refits=1))
    assert not status_path.parent.exists()
