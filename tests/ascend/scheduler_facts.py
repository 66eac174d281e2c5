"""How vllm-ascend's schedulers schedule with a chooser of chunks, and with loads beside it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from tests.ascend.engine_parts import (
    ScriptedChooser,
    answer_to,
    make_request,
    make_scheduler,
)
from tests.ascend.facts import Lines, qualified

if TYPE_CHECKING:
    from collections.abc import Sequence

STAGES = 2
# A request that is never admitted would go on for ever.
MOST_STEPS = 20

LONG_TOKENS = 6000
LONG_CHUNKS = [512, 1024, 256, 128, 2048]
LONG_OUTPUT_TOKENS = 3
LATE_TOKENS = 1000
# 0 where it waits, and 0 once it runs.
LATE_CHUNKS = [0, 384, 0]

BESIDE_TOKENS = 2500
BESIDE_CHUNKS = [512, 256, 256, 256]
# The request of which a part is found elsewhere.
LOADED = "load"
FOUND_TOKENS = 512
LOAD_TOKENS = 2000
LOAD_CHUNKS = [384]


def _free_blocks(scheduler: Any) -> int:
    free: int = scheduler.kv_cache_manager.block_pool.get_num_free_blocks()
    return free


def chosen_chunks_facts(vllm_config: Any) -> dict[str, Any]:
    """Two prompts, the second joining late, with as many steps in flight as there are stages."""
    scheduler = make_scheduler(vllm_config)
    free_blocks = _free_blocks(scheduler)
    chooser = ScriptedChooser({LONG_TOKENS: LONG_CHUNKS, LATE_TOKENS: LATE_CHUNKS})
    scheduler.cpp_chunk_use(chooser)
    scheduler.add_request(make_request("long", LONG_TOKENS, LONG_OUTPUT_TOKENS))
    in_flight: deque[tuple[Any, Any]] = deque()
    steps: list[dict[str, int]] = []
    with Lines() as log:
        while scheduler.has_unfinished_requests() or in_flight:
            output = scheduler.schedule()
            if output.total_num_scheduled_tokens:
                steps.append(dict(output.num_scheduled_tokens))
                in_flight.append((output, answer_to(scheduler, output)))
            if len(steps) == 1:
                scheduler.add_request(make_request("late", LATE_TOKENS))
            if len(in_flight) == STAGES or not output.total_num_scheduled_tokens:
                scheduler.update_from_output(*in_flight.popleft())
    return {
        "mro": [qualified(base) for base in type(scheduler).__mro__],
        "steps": steps,
        "added": chooser.added,
        "num_decodes": chooser.num_decodes,
        "num_steps_left": chooser.num_steps_left,
        "is_chooser_left": scheduler._cpp_chunk_chooser is chooser,
        "blocks_kept": free_blocks - _free_blocks(scheduler),
        "log": log.lines,
    }


class _Loading:
    """A prompt under way with chosen chunks, which one joins whose KV is loaded."""

    def __init__(self, vllm_config: Any) -> None:
        self.scheduler = make_scheduler(vllm_config)
        chooser = ScriptedChooser({BESIDE_TOKENS: BESIDE_CHUNKS, LOAD_TOKENS: LOAD_CHUNKS})
        self.scheduler.cpp_chunk_use(chooser)
        self.steps: list[dict[str, Any]] = []

    def step(self, loaded: Sequence[str] = ()) -> None:
        scheduler = self.scheduler
        output = scheduler.schedule()
        load = scheduler.requests.get(LOADED)
        self.steps.append(
            {
                "tokens": dict(output.num_scheduled_tokens),
                "load": None if load is None else load.status.name,
                "asks": scheduler.need_mamba_block_aligned_split,
                "has_chooser": scheduler._cpp_chunk_chooser is not None,
            }
        )
        scheduler.update_from_output(output, answer_to(scheduler, output, loaded))


def asynchronous_load_facts(vllm_config: Any) -> dict[str, Any]:
    """Step by step: what was scheduled, and what became of the request whose KV is loaded."""
    with Lines() as log:
        loading = _Loading(vllm_config)
        loading.scheduler.add_request(make_request("beside", BESIDE_TOKENS))
        loading.step()
        loading.scheduler.add_request(make_request(LOADED, LOAD_TOKENS))
        loading.step()
        # Until the workers say that it is there, it is asked for no chunk.
        loading.step()
        is_admitted = loading.steps[-1]["load"] == "WAITING_FOR_REMOTE_KVS"
        loading.step(loaded=[LOADED] if is_admitted else [])
        while loading.scheduler.has_unfinished_requests() and len(loading.steps) < MOST_STEPS:
            loading.step()
    return {
        "mro": [qualified(base) for base in type(loading.scheduler).__mro__],
        "steps": loading.steps,
        "log": log.lines,
    }
