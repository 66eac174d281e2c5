"""One real engine, looked at from inside: what the profile leaves, what chunks are scheduled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cpp_chunk.engine.profile.passes import MAX_PASSES_DISTURBED

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

PROMPT_TOKENS = 6000
BUDGET_TOKENS = 4096


@pytest.fixture(scope="module")
def run(
    run_script: Callable[..., subprocess.CompletedProcess[str]],
) -> subprocess.CompletedProcess[str]:
    return run_script("probe_script.py")


@pytest.fixture(scope="module")
def facts(run: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    line = next(line for line in run.stdout.splitlines() if line.startswith('{"scheduler_class"'))
    facts: dict[str, Any] = json.loads(line)
    return facts


def test_the_chosen_scheduler_is_derived_from(facts: dict[str, Any]) -> None:
    assert facts["scheduler_class"] == f"DynamicChunk{facts['bases'][2]}"
    assert "Scheduler" in facts["bases"]


def test_the_planner_knows_how_many_steps_are_in_flight(facts: dict[str, Any]) -> None:
    assert facts["planned_in_flight"] == facts["batch_queue_size"] == 2


def test_the_profile_leaves_the_cache_as_it_was(facts: dict[str, Any]) -> None:
    assert facts["profile"]["before"] == facts["profile"]["after"]
    assert facts["profile"]["after"]["requests"] == 0


def test_the_profile_varies_sizes_and_histories(facts: dict[str, Any]) -> None:
    passes = facts["profile"]["passes"]
    assert len(passes) == facts["profile"]["num_passes"] <= MAX_PASSES_DISTURBED
    assert len({history for _, history in passes}) >= 3
    assert max(history for _, history in passes) >= 16384 / 2
    assert len({num_tokens for num_tokens, _ in passes}) >= 3


def test_one_prompt_goes_in_chunks(facts: dict[str, Any]) -> None:
    [chunks] = zip(*facts["one_prompt"], strict=True)
    sizes = [num_tokens for num_tokens, _ in chunks]
    assert sum(sizes) == PROMPT_TOKENS
    assert len(sizes) > 2
    assert max(sizes) < BUDGET_TOKENS
    for num_tokens, history in chunks[:-1]:
        assert (num_tokens + history) % facts["block_size"] == 0
    assert [history for _, history in chunks] == [sum(sizes[:i]) for i in range(len(sizes))]


def test_a_prefix_hit_is_history(facts: dict[str, Any]) -> None:
    first_tokens, first_history = facts["prefix_hit"][0][0]
    assert first_history == 4096
    assert first_tokens > 0
    assert sum(step[0][0] for step in facts["prefix_hit"]) == PROMPT_TOKENS - 4096


def test_decodes_and_prefills_share_steps(facts: dict[str, Any]) -> None:
    assert any(
        any(num_tokens == 1 for num_tokens, _ in step)
        and any(num_tokens > 1 for num_tokens, _ in step)
        for step in facts["mixed"]
    )
    assert all(
        sum(num_tokens for num_tokens, _ in step) <= BUDGET_TOKENS for step in facts["mixed"]
    )


def test_served_steps_are_measured(facts: dict[str, Any]) -> None:
    assert facts["measured_steps"] > 10


def test_a_failure_of_ours_means_fixed_chunks_and_one_line(
    facts: dict[str, Any], run: subprocess.CompletedProcess[str]
) -> None:
    assert facts["tokens_while_broken"] == 4
    assert facts["broken"][0] == [[BUDGET_TOKENS, 0]]
    assert facts["after_broken"][0] == [[BUDGET_TOKENS, 0]]
    lines = [line for line in run.stderr.splitlines() if "fixed chunks from here on" in line]
    lines += [line for line in run.stdout.splitlines() if "fixed chunks from here on" in line]
    assert len(lines) == 1
    assert "a fault put in by the test" in lines[0]
