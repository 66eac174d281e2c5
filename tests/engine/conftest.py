"""What the tests with real vLLM share: one tiny model, one way to start an engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.tiny_model import TinyModelShape, write_tiny_model
from tests.engine.environment import engine_environment

if TYPE_CHECKING:
    from collections.abc import Callable

PROBE_TIMEOUT_S = 240


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.engine)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half the demo's layers: these tests look at what happens, not at how long it takes."""
    return write_tiny_model(tmp_path_factory.mktemp("model"), TinyModelShape(num_layers=4))


@pytest.fixture(scope="session")
def run_script(model: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script of this directory in a fresh process with two cores' worth of stages."""

    def run(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).parent / name), str(model), *arguments],
            env={**engine_environment(), **environment},
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            pytest.fail(f"{name} failed:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
        return done

    return run
