"""What the tests with real vLLM share: tiny models, one way to start an engine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cpp_chunk.records.cache_dir import CACHE_DIR_VARIABLE

from benchmarks.engine.tiny_model import TinyModelShape, write_random_weights, write_tiny_model
from tests.engine.environment import REPOSITORY, script_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROBE_TIMEOUT_S = 240
# Half the demo's layers: these tests look at what happens, not at how long it takes.
SHAPE = TinyModelShape(num_layers=4)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.engine)


@pytest.fixture(scope="session", autouse=True)
def _not_the_users_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An engine started here neither trusts profiles of the user's engines nor adds to them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_DIR_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"), SHAPE)


@pytest.fixture(scope="session")
def model_with_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose answers depend on the whole prompt."""
    folder = write_tiny_model(tmp_path_factory.mktemp("model_with_weights"), SHAPE)
    write_random_weights(folder, SHAPE)
    return folder


def script_path(name: str) -> Path:
    """A script of this folder, or one that the benchmark runs as well."""
    return (REPOSITORY if "/" in name else Path(__file__).parent) / name


@pytest.fixture(scope="session")
def run_script(
    model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script of this directory in a fresh process with two cores' worth of stages."""

    def run(
        name: str, *arguments: str, other_model: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(script_path(name)), str(other_model or model)]
        process = subprocess.Popen(
            [*command, *arguments],
            env={**script_environment(tmp_path_factory.mktemp("cache")), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A group of its own, so that workers that hang can be ended with it.
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(timeout=PROBE_TIMEOUT_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if process.returncode:
            pytest.fail(f"{name} failed:\n{output[-3000:]}\n{errors[-6000:]}")
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    return run
