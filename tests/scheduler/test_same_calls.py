"""The simulator calls a policy as vLLM's scheduler with our mixin does: one script drives both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cpp_chunk
import pytest

from tests.scheduler.engine import TRUTH, Engine, Shape

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LIMITS = {"max_chunk_tokens": 8192, "min_chunk_tokens": 1, "alignment": 16}


@dataclass
class Heard:
    """What a policy was told and asked for one step. Counts are tokens."""

    decodes: tuple[int, int] = (0, 0)
    backlog: tuple[tuple[tuple[int, int], ...], int] = ((), 0)
    left: list[int] = field(default_factory=list)
    # (remaining, computed, admitted, answer) of each prefill that was asked for
    asked: list[tuple[int, int, int, int]] = field(default_factory=list)
    scheduled: tuple[int, list[tuple[int, int]]] | None = None


class Log:
    """Collects by steps: what vLLM asks for a step that stays empty has no step."""

    def __init__(self) -> None:
        self.steps = [Heard()]

    def begin(self) -> None:
        self.steps[-1].asked.clear()

    def end(self, step: int, prefills: Sequence[tuple[int, int]]) -> None:
        heard = self.steps[-1]
        heard.scheduled = (step, list(prefills))
        self.steps.append(Heard(heard.decodes, heard.backlog))


class RecordingPolicy(cpp_chunk.ChunkPolicy):
    """For the simulator."""

    def __init__(self, num_stages: int) -> None:
        super().__init__()
        self.log = Log()
        self._planner = cpp_chunk.ChunkPlanner([TRUTH] * num_stages, **LIMITS)  # type: ignore[arg-type]

    def set_decodes(self, num_decodes: int, num_computed_tokens: int, tokens_each: int = 1) -> None:
        self.log.steps[-1].decodes = (num_decodes, num_computed_tokens)
        self._planner.set_decodes(num_decodes, num_computed_tokens, tokens_each)

    def set_backlog(self, prompts: Sequence[tuple[int, int]], num_under_way: int) -> None:
        self.log.steps[-1].backlog = (tuple(prompts), num_under_way)
        self._planner.set_backlog(prompts, num_under_way)

    def begin_step(self) -> None:
        self.log.begin()
        self._planner.begin_step()

    def chunk_tokens(self, remaining: int, num_computed_tokens: int, max_tokens: int) -> int:
        admitted = min(max_tokens, remaining)
        answer = self._planner.chunk_tokens(remaining, num_computed_tokens, max_tokens)
        self.log.steps[-1].asked.append((remaining, num_computed_tokens, admitted, answer))
        return answer

    def add_chunk(self, num_tokens: int, num_computed_tokens: int) -> None:
        self._planner.add_chunk(num_tokens, num_computed_tokens)

    def step_scheduled(self, step: int, prefills: Sequence[tuple[int, int]]) -> None:
        self.log.end(step, prefills)
        self._planner.step_scheduled(step, prefills)

    def step_left(self, step: int) -> None:
        self.log.steps[-1].left.append(step)
        self._planner.step_left(step)


class RecordingPlanner:
    """For the engine: goes around what serves."""

    def __init__(self, planner: Any) -> None:
        self.log = Log()
        self._planner = planner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._planner, name)

    def set_backlog(
        self,
        prompts: Sequence[tuple[int, int]],
        num_under_way: int,
        num_decodes: int,
        decode_context_tokens: int,
        tokens_per_decode: int,
    ) -> None:
        self.log.steps[-1].decodes = (num_decodes, decode_context_tokens)
        self.log.steps[-1].backlog = (tuple(prompts), num_under_way)
        self._planner.set_backlog(
            prompts, num_under_way, num_decodes, decode_context_tokens, tokens_per_decode
        )

    def begin_step(self) -> None:
        self.log.begin()
        self._planner.begin_step()

    def chunk_tokens(
        self, remaining: int, num_computed_tokens: int, max_tokens: int, share: float
    ) -> int:
        answer: int = self._planner.chunk_tokens(remaining, num_computed_tokens, max_tokens, share)
        self.log.steps[-1].asked.append((remaining, num_computed_tokens, max_tokens, answer))
        return answer

    def scheduled(self, step_id: int, prefills: Sequence[tuple[int, int]]) -> None:
        self.log.end(step_id, prefills)
        self._planner.scheduled(step_id, prefills)

    def left(self, step_id: int) -> None:
        self.log.steps[-1].left.append(step_id)
        self._planner.left(step_id)


# (arrival in ms, prompt tokens, output tokens); arrivals while both stages are busy.
SCRIPTS = {
    "one after the other": [(0, 20000, 1), (500, 6000, 1), (900, 9000, 1), (3000, 700, 1)],
    "decodes beside them": [(0, 9000, 60), (100, 3000, 40), (200, 20000, 2), (1500, 500, 80)],
    "many at once": [(0, 900 + 37 * number, 8) for number in range(80)],
    "a long one beside decodes": [(0, 300, 120), (0, 400, 120), (0, 60000, 1)],
}


@pytest.mark.parametrize("num_stages", [2, 3])
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_policy_hears_the_same(model: Path, name: str, num_stages: int) -> None:
    script = SCRIPTS[name]
    policy = RecordingPolicy(num_stages)
    cpp_chunk.simulate(
        cpp_chunk.SimulatedPipeline([TRUTH] * num_stages, max_num_batched_tokens=8192),
        [
            cpp_chunk.SimulatedRequest(prompt, output_tokens=output, arrival_ms=arrival_ms)
            for arrival_ms, prompt, output in script
        ],
        policy,
    )
    engine = Engine(model, Shape(stages=(TRUTH,) * num_stages, num_blocks=20000))
    planner: Any = RecordingPlanner(engine.planner)
    engine.planner = planner
    engine.scheduler.cpp_chunk_use(planner)
    engine.serve(
        [
            (arrival_ms, {"num_tokens": prompt, "max_tokens": output})
            for arrival_ms, prompt, output in script
        ]
    )
    # What is heard behind the last step is for none.
    heard, simulated = planner.log.steps[:-1], policy.log.steps[:-1]
    assert len(heard) == len(simulated) > 5
    for one, other in zip(heard, simulated, strict=True):
        assert one == other
