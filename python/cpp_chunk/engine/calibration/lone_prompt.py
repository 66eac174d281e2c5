"""Prompts that had the pipeline to themselves: their time, and that of fixed chunks by the model.

Only of these is it plain what fixed chunks would have taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cpp_chunk._core import plan_fixed_chunks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpp_chunk._core import LatencyModel
    from cpp_chunk.engine.calibration.noted_step import NotedStep
    from cpp_chunk.engine.stage_timers import StepOnStages


@dataclass
class _UnderWay:
    request_id: str
    start_s: float
    first_history: int


class LonePrompts:
    """Follows joined steps, in order.

    Args:
        max_chunk_tokens: what a fixed chunk would be: vLLM's token budget of a step.
    """

    def __init__(self, max_chunk_tokens: int) -> None:
        self._max_chunk_tokens = max_chunk_tokens
        self._prompt: _UnderWay | None = None

    def add(
        self, step: NotedStep, stages: StepOnStages, gap_ms: float
    ) -> tuple[float, float] | None:
        """Takes the next step.

        Returns:
            When it ends a lone prompt that was cut by a target: measured_ms from the beginning of
            its first step to the end of its last one, and fixed_ms, what fixed chunks would have
            taken by the models of that last step. Else None.
        """
        is_alone = len(step.chunks) == 1 and step.has_prefill and step.target_ms is not None
        if not is_alone:
            self._prompt = None
            return None
        [request_id], [(num_tokens, history)] = step.request_ids, step.chunks
        if self._prompt is None or self._prompt.request_id != request_id:
            self._prompt = _UnderWay(request_id, stages[0][0], history)
        if step.remaining[0]:
            return None
        prompt, self._prompt = self._prompt, None
        if history == prompt.first_history or not step.models:
            return None  # one chunk: there was nothing to choose
        # On the first stage's clock alone: those of other hosts need not agree with it.
        start_s, compute_ms = stages[0]
        later_ms = sum(stages[stage][1] for stage in stages if stage)
        measured_ms = (start_s - prompt.start_s) * 1e3 + compute_ms + later_ms
        fixed = plan_fixed_chunks(
            _with_gap(step.models, gap_ms),
            num_tokens + history,
            self._max_chunk_tokens,
            num_computed_tokens=prompt.first_history,
        )
        return measured_ms, fixed.makespan_ms


def _with_gap(models: Sequence[LatencyModel], gap_ms: float) -> list[LatencyModel]:
    return [model.with_overhead(gap_ms) for model in models]
