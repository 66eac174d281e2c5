"""A step as it was scheduled: what its times are held against when they come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpp_chunk._core import LatencyModel
    from cpp_chunk.engine.stage_fits import Chunks


@dataclass(slots=True)
class NotedStep:
    """One step.

    Attributes:
        request_ids: of each chunk.
        chunks: (num_tokens, num_computed_tokens) of each.
        remaining: tokens of each prompt that are left after its chunk; 0 for a decode.
        has_prefill: whether any chunk is more than a decode.
        target_ms: the step time aimed at; None while chunks were fixed.
        models: those in force.
    """

    request_ids: list[str]
    chunks: Chunks
    remaining: list[int]
    has_prefill: bool
    target_ms: float | None
    models: Sequence[LatencyModel]

    @property
    def predicted_ms(self) -> float | None:
        """Compute on the slowest stage."""
        return max((model.step_ms(self.chunks) for model in self.models), default=None)

    def __str__(self) -> str:
        target = f"{self.target_ms:.2f}" if self.target_ms is not None else "-"
        predicted = f"{self.predicted_ms:.2f}" if self.predicted_ms is not None else "-"
        chunks = ", ".join(f"{tokens} tokens after {history}" for tokens, history in self.chunks)
        return f"{chunks}, target {target} ms, predicted {predicted} ms"

    def continues(self, before: NotedStep) -> bool:
        """Whether a prompt had a chunk in that step and has one in this: no pause between."""
        return any(
            chunk[0] > 1 and request_id in before.request_ids
            for request_id, chunk in zip(self.request_ids, self.chunks, strict=True)
        )
