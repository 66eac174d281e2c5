"""Our figures, from the engine core's file to the metrics page."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from cpp_chunk.metrics import EngineCollector
from cpp_chunk.status import (
    STATUS_FILE_VARIABLE,
    EngineStatus,
    make_status_file,
    read_status,
    write_status,
)
from prometheus_client import CollectorRegistry, generate_latest

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


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


def test_the_file_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv(STATUS_FILE_VARIABLE, "")
    path = make_status_file()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_status(path) == EngineStatus()
