"""What the tests on vllm-ascend's own code share: each process is started once."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.engine.tiny_model import TinyModelShape, write_tiny_model
from tests.ascend.cases import IN_TREE, MODES, PLUGIN
from tests.ascend.releases import PAIRS, Pair, environment

if TYPE_CHECKING:
    from collections.abc import Callable

# Of these processes the slowest takes half a minute on two idle cores.
TIMEOUT_S = 240

Facts = dict[str, Any]


def _run(script: str, *arguments: str, variables: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / script), *arguments],
        env=variables,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{script} failed:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Pair, str, str], Facts]:
    """What a script found in a pair's code, in one of the modes.

    Apart from the parametrized fixtures, which pytest makes anew as it goes from pair to pair.
    """
    model = write_tiny_model(tmp_path_factory.mktemp("model"), TinyModelShape(num_layers=4))

    @functools.cache
    def folder_of(pair: Pair) -> Path:
        return tmp_path_factory.mktemp(f"ascend-{pair}")

    @functools.cache
    def facts(pair: Pair, script: str, mode: str) -> Facts:
        # A pair's processes share vLLM's cache: it remembers what it has learnt of the model.
        folder = folder_of(pair)
        results = folder / mode
        results.mkdir(exist_ok=True)
        variables = environment(pair, mode, folder)
        if script == "front_end":
            _run("front_end_script.py", str(model), mode, str(results), variables=variables)
        else:
            facts(pair, "front_end", mode)
            _run(f"{script}_script.py", mode, str(results), variables=variables)
        return json.loads((results / f"{script}.json").read_text(encoding="utf-8"))

    return facts


@pytest.fixture(scope="session", params=PAIRS, ids=str)
def pair(request: pytest.FixtureRequest) -> Pair:
    return request.param


@pytest.fixture(scope="session")
def facts_of(
    pair: Pair, processes: Callable[[Pair, str, str], Facts]
) -> Callable[[str, str], Facts]:
    """The same for one pair."""
    return functools.partial(processes, pair)


@pytest.fixture(scope="session", params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def front_end(facts_of: Callable[[str, str], Facts]) -> Callable[[str], Facts]:
    """The front end's process in a mode: facts by case."""
    return functools.partial(facts_of, "front_end")


@pytest.fixture(scope="session")
def ours(facts_of: Callable[[str, str], Facts]) -> Facts:
    """The front end's process with our plugin in it."""
    return facts_of("front_end", PLUGIN)


@pytest.fixture(scope="session")
def our_child(facts_of: Callable[[str, str], Facts]) -> Facts:
    """A process to which the front end with our plugin has sent its configuration."""
    return facts_of("child", PLUGIN)


@pytest.fixture(scope="session")
def in_tree_child(facts_of: Callable[[str, str], Facts]) -> Facts:
    """The same where the key was handed back to vllm-ascend."""
    return facts_of("child", IN_TREE)
