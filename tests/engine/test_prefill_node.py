"""A prefill node of a disaggregated deployment: a KV connector in the producer's role."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def facts(
    run_script: Callable[..., subprocess.CompletedProcess[str]],
    model_with_weights: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("kv")
    output = run_script(
        "prefill_node_script.py", str(folder), other_model=model_with_weights
    ).stdout
    line = next(line for line in output.splitlines() if line.startswith('{"told_while_profiling"'))
    facts: dict[str, Any] = json.loads(line)
    return facts


def test_the_profile_is_taken(facts: dict[str, Any]) -> None:
    assert facts["profile"]["num_passes"] > 1
    assert facts["target_ms"] > 0


def test_the_connector_hears_nothing_of_it(facts: dict[str, Any]) -> None:
    assert facts["told_while_profiling"] == []
    assert facts["connector"] == "ExampleConnector"


def test_the_profile_leaves_the_cache_as_it_was(facts: dict[str, Any]) -> None:
    assert facts["profile"]["before"] == facts["profile"]["after"]


def test_what_is_served_reaches_the_connector(facts: dict[str, Any]) -> None:
    assert facts["told_while_serving"] > 0
    assert facts["files"]
    assert len(facts["answer"][0]) == 12
    assert facts["free_blocks_after"] == facts["free_blocks"]
