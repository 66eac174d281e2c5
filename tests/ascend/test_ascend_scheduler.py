"""Chosen chunks in the schedulers that vllm-ascend ends up with, and loads of KV beside them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from tests.ascend.cases import PLUGIN
from tests.ascend.engine_parts import BLOCK_TOKENS
from tests.ascend.scheduler_facts import (
    BESIDE_CHUNKS,
    BESIDE_TOKENS,
    FOUND_TOKENS,
    LATE_CHUNKS,
    LATE_TOKENS,
    LOAD_CHUNKS,
    LOAD_TOKENS,
    LONG_CHUNKS,
    LONG_OUTPUT_TOKENS,
    LONG_TOKENS,
)
from tests.ascend.test_ascend_takeover import ASYNCHRONOUS, BALANCE, tagged

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.ascend.releases import Pair

Facts = dict[str, Any]

PREFILL_NODES = ["prefill_node", "prefill_node_synchronous"]
# The release whose prefill nodes run a copy of schedule() that asks for a load's chunk.
WITH_COPY = "0.23.0"
STOPPED = "[cpp_chunk] a request's KV is loaded asynchronously"


@pytest.fixture(scope="session")
def schedulers(facts_of: Callable[[str, str], Facts]) -> Facts:
    """A process with the schedulers of the configurations that the front end has sent."""
    return facts_of("scheduler", PLUGIN)


@pytest.mark.parametrize("case", ["on", "synchronous", *PREFILL_NODES])
def test_the_mixin_goes_before_the_scheduler_that_was_chosen(schedulers: Facts, case: str) -> None:
    mro = schedulers["chosen"][case]["mro"]
    assert mro[1] == "cpp_chunk.engine.scheduler.DynamicChunkMixin"
    assert mro[2] == (BALANCE if case.endswith("synchronous") else ASYNCHRONOUS)
    assert BALANCE in mro


@pytest.mark.parametrize("case", ["on", "synchronous", *PREFILL_NODES])
def test_prompts_are_cut_as_chosen(schedulers: Facts, case: str) -> None:
    facts = schedulers["chosen"][case]
    long = [step["long"] for step in facts["steps"]]
    rest = LONG_TOKENS - sum(LONG_CHUNKS)
    assert long == [*LONG_CHUNKS, rest, *[1] * (LONG_OUTPUT_TOKENS - 1)]
    # It joins after the first step, and its zeros are steps without it.
    late = [step.get("late", 0) for step in facts["steps"][1:]]
    expected = [*LATE_CHUNKS, LATE_TOKENS - sum(LATE_CHUNKS)]
    assert late == [*expected, *[0] * (len(late) - len(expected))]
    assert all(size % BLOCK_TOKENS == 0 for size in (*LONG_CHUNKS, *LATE_CHUNKS))


@pytest.mark.parametrize("case", ["on", "synchronous", *PREFILL_NODES])
def test_the_chooser_is_told_what_a_step_holds(schedulers: Facts, case: str) -> None:
    facts = schedulers["chosen"][case]
    chunks = [
        *zip(LONG_CHUNKS, itertools.accumulate(LONG_CHUNKS, initial=0), strict=False),
        (LONG_TOKENS - sum(LONG_CHUNKS), sum(LONG_CHUNKS)),
        (sum(LATE_CHUNKS), 0),
        (LATE_TOKENS - sum(LATE_CHUNKS), sum(LATE_CHUNKS)),
    ]
    assert sorted(map(tuple, facts["added"])) == sorted(chunks)
    assert facts["num_decodes"] == LONG_OUTPUT_TOKENS - 1
    assert facts["num_steps_left"] == len(facts["steps"])
    assert facts["is_chooser_left"] and tagged(facts) == []
    assert facts["blocks_kept"] == 0


def test_prefill_nodes_are_taken_over_too(ours: Facts) -> None:
    for case in PREFILL_NODES:
        assert not ours[case]["in_tree_enabled"] and ours[case]["derived"]["settings"]["enabled"]


@pytest.mark.parametrize("case", PREFILL_NODES)
def test_a_load_ends_dynamic_chunks_where_schedule_asks_for_its_chunk(
    schedulers: Facts, pair: Pair, case: str
) -> None:
    facts = schedulers["loads"][case]
    if pair.ascend != WITH_COPY:
        assert all(step["asks"] and step["has_chooser"] for step in facts["steps"])
        assert tagged(facts) == []
        return
    before, noticed, *after = facts["steps"]
    assert before["asks"] and before["has_chooser"]
    # Noticed in its WAITING loop: the prompt under way had been given its chunk.
    assert noticed["tokens"] == {"beside": BESIDE_CHUNKS[1]}
    assert noticed["load"] == "WAITING"
    assert not any(step["asks"] or step["has_chooser"] for step in (noticed, *after))
    [line] = tagged(facts)
    assert line.startswith(STOPPED) and line.endswith("fixed chunks from here on")


@pytest.mark.parametrize("case", PREFILL_NODES)
def test_a_load_is_admitted(schedulers: Facts, pair: Pair, case: str) -> None:
    steps = schedulers["loads"][case]["steps"]
    loads = [step["load"] for step in steps]
    remote = "WAITING_FOR_REMOTE_KVS"
    # At once, or in the step after the one in which it was noticed.
    admitted = "WAITING" if pair.ascend == WITH_COPY else remote
    assert loads[:5] == [None, admitted, remote, remote, "RUNNING"]


@pytest.mark.parametrize("case", PREFILL_NODES)
def test_what_is_left_after_a_load_is_computed(schedulers: Facts, pair: Pair, case: str) -> None:
    steps = schedulers["loads"][case]["steps"]
    chunks = {
        name: [step["tokens"][name] for step in steps if name in step["tokens"]]
        for name in ("beside", "load")
    }
    is_stopped = pair.ascend == WITH_COPY
    beside, load = (BESIDE_CHUNKS[:2], []) if is_stopped else (BESIDE_CHUNKS, LOAD_CHUNKS)
    assert chunks == {
        "beside": [*beside, BESIDE_TOKENS - sum(beside)],
        "load": [*load, LOAD_TOKENS - FOUND_TOKENS - sum(load)],
    }
