"""Plan: the native planner as the user's settings ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpp_chunk._core import ChunkPlanner, base_target_ms
from cpp_chunk.log import init_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpp_chunk._core import LatencyModel
    from cpp_chunk.settings.config import ProfilingChunkConfig

logger = init_logger(__name__)


class ServingPlanner:
    """Chunks of equal time from the models in force. Without models: vLLM's own, fixed ones.

    Args:
        config: the user's settings.
        max_chunk_tokens: vLLM's token budget of a step.
        alignment_tokens: chunks end on multiples of this (the KV block).
        preferred_multiples: what a chunk's size should be a multiple of, in tokens.
        max_in_flight: steps scheduled that have not left the last stage (vLLM's batch queue);
            None for as many as stages.
        smallest_profiled_tokens: the floor that the profile found: below the smallest chunk
            that was measured, the model is a guess.
    """

    def __init__(
        self,
        config: ProfilingChunkConfig,
        *,
        max_chunk_tokens: int,
        alignment_tokens: int,
        preferred_multiples: Sequence[int] = (),
        smallest_profiled_tokens: int = 1,
        max_in_flight: int | None = None,
    ) -> None:
        self._config = config
        self._max_in_flight = max_in_flight
        self._max_chunk_tokens = max_chunk_tokens
        self._alignment_tokens = min(alignment_tokens, max_chunk_tokens)
        self._preferred_multiples = list(preferred_multiples)
        self._floor_tokens = min(config.min_chunk, max_chunk_tokens)
        if config.target == "auto" and not config.min_chunk_is_set:
            self._floor_tokens = min(self._floor_tokens, smallest_profiled_tokens)
        if config.min_chunk_is_set and config.min_chunk > max_chunk_tokens:
            logger.info(
                "min_chunk lowered from %d to max_num_batched_tokens, %d tokens",
                config.min_chunk,
                max_chunk_tokens,
            )
        self._native: ChunkPlanner | None = None
        self._is_trusted = True

    @property
    def limits(self) -> dict[str, int | float | list[int]]:
        """What every plan for this engine must keep, as the core's keywords."""
        limits: dict[str, int | float | list[int]] = {
            "max_chunk_tokens": self._max_chunk_tokens,
            "min_chunk_tokens": self._floor_tokens,
            "alignment": self._alignment_tokens,
            "preferred_multiples": self._preferred_multiples,
        }
        if self._config.max_step_ms is not None:
            limits["max_step_ms"] = self._config.max_step_ms
        return limits

    @property
    def target_ms(self) -> float | None:
        """The step time aimed at now; None while chunks are fixed."""
        if self._native is None or not self._is_trusted:
            return None
        return self._native.target_ms

    def set_models(self, models: Sequence[LatencyModel], gap_ms: float) -> None:
        """Plans with these models from the next step on.

        Args:
            models: each stage's compute of a step.
            gap_ms: what a step costs a stage beyond its compute (scheduling, transfer): it is
                paid once a step, so planning counts it with the constant.
        """
        if self._config.smooth_factor == 0:
            return
        stages = [model.with_overhead(gap_ms) for model in models]
        target_ms = self._fixed_target_ms(stages)
        if self._native is not None:
            self._native.set_stages(stages, target_ms)
            return
        self._native = ChunkPlanner(
            stages,
            smooth_factor=self._config.smooth_factor,
            target_ms=target_ms,
            max_in_flight=self._max_in_flight,
            **self.limits,  # type: ignore[arg-type]
        )

    def trust(self, *, trusted: bool) -> None:
        """Whether the models may choose chunks; while not, chunks are fixed, and booked as ever."""
        self._is_trusted = trusted

    def forget_models(self) -> None:
        """Chunks are fixed from here on."""
        self._native = None

    @property
    def is_untuned(self) -> bool:
        """Whether the user left it to us how long a step is."""
        config = self._config
        return config.target == "auto" and config.max_step_ms is None and config.smooth_factor == 1

    def set_backlog(
        self,
        prompts: Sequence[tuple[int, int]],
        num_under_way: int,
        num_decodes: int = 0,
        decode_context_tokens: int = 0,
        tokens_per_decode: int = 1,
    ) -> None:
        """Requests have come, gone, or ended their prefill: the step time is weighed anew."""
        if self._native is not None:
            self._native.set_decodes(num_decodes, decode_context_tokens, tokens_per_decode)
            self._native.set_backlog(prompts, num_under_way)

    def begin_step(self) -> None:
        """A new `schedule()` starts: the step is empty."""
        if self._native is not None:
            self._native.begin_step()

    def chunk_tokens(
        self, remaining: int, num_computed_tokens: int, max_tokens: int, share: float = 1.0
    ) -> int:
        """The chunk for this request in this step; 0 leaves it to a later step."""
        if self._native is None or not self._is_trusted:
            return max_tokens
        if share < 1:
            return self._native.shared_chunk_tokens(
                remaining, num_computed_tokens, max_tokens, share
            )
        return self._native.chunk_tokens(remaining, num_computed_tokens, max_tokens)

    def add_chunk(self, num_tokens: int, num_computed_tokens: int) -> None:
        """The step now holds this chunk as well."""
        if self._native is not None:
            self._native.add_chunk(num_tokens, num_computed_tokens)

    def add_decodes(self, num_decodes: int, num_computed_tokens: int, tokens_each: int = 1) -> None:
        """The step now holds these decodes as well, with this much history in all."""
        if self._native is not None:
            self._native.add_decodes(num_decodes, num_computed_tokens, tokens_each)

    def scheduled(self, step_id: int, prefills: Sequence[tuple[int, int]]) -> None:
        """A step went off with these chunks, as (num_tokens, num_computed_tokens)."""
        if self._native is not None and prefills:
            self._native.step_scheduled(step_id, prefills)

    def left(self, step_id: int) -> None:
        """A step has left the last stage."""
        if self._native is not None:
            self._native.step_left(step_id)

    def _fixed_target_ms(self, stages: Sequence[LatencyModel]) -> float | None:
        """The user's target, or the published rule's on the slowest stage."""
        target = self._config.target
        if target == "auto":
            return None
        if target == "base":
            target_ms = max(base_target_ms(stage, self._max_chunk_tokens) for stage in stages)
        else:
            target_ms = target
        return (
            target_ms
            if self._config.max_step_ms is None
            else min(target_ms, self._config.max_step_ms)
        )
