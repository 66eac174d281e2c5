"""Plan: the step time worth aiming at, and the chunk that a prefill gets in a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cpp_chunk._core import ChunkSolver, LatencyModel, base_target_ms, best_target_ms
from cpp_chunk.log import init_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpp_chunk.config import ProfilingChunkConfig

logger = init_logger(__name__)


class ChunkChooser(Protocol):
    """Who decides how many tokens a prefill gets. All counts are tokens."""

    def begin_step(self) -> None:
        """A new `schedule()` starts: the step is empty."""

    def admit(self, prompts: Sequence[tuple[int, int]], *, in_progress: bool) -> None:
        """A prompt joins; `prompts` is the backlog as (remaining, num_computed_tokens)."""

    def chunk_tokens(self, remaining: int, num_computed_tokens: int, max_tokens: int) -> int:
        """The chunk for this request in this step; 0 leaves it to a later step."""

    def add(self, num_tokens: int, num_computed_tokens: int) -> None:
        """The step now holds this chunk or decode as well."""


def _with_overhead(model: LatencyModel, overhead_ms: float) -> LatencyModel:
    """The model of steps that cost this much more, whatever they hold."""
    return LatencyModel(
        quadratic=model.quadratic,
        cross=model.cross,
        linear=model.linear,
        context=model.context,
        constant=model.constant + overhead_ms,
    )


@dataclass(frozen=True)
class _InForce:
    """The model that planning goes by, and its solver."""

    model: LatencyModel
    solver: ChunkSolver


class ChunkPlanner:
    """Chunks of equal time from the model in force. Without a model: vLLM's own, fixed ones.

    Args:
        config: the user's settings.
        num_stages: pipeline stages, taken as equally fast.
        max_chunk_tokens: vLLM's token budget of a step.
        alignment_tokens: chunks end on multiples of this (the KV block).
        smallest_profiled_tokens: the floor that the profile found: below the smallest chunk
            that was measured, the model is a guess.
    """

    def __init__(
        self,
        config: ProfilingChunkConfig,
        *,
        num_stages: int,
        max_chunk_tokens: int,
        alignment_tokens: int,
        smallest_profiled_tokens: int = 1,
    ) -> None:
        self._config = config
        self._num_stages = num_stages
        self._max_chunk_tokens = max_chunk_tokens
        self._alignment_tokens = min(alignment_tokens, max_chunk_tokens)
        self._floor_tokens = min(config.min_chunk, max_chunk_tokens)
        if config.target == "auto" and not config.min_chunk_is_set:
            self._floor_tokens = min(self._floor_tokens, smallest_profiled_tokens)
        if config.min_chunk_is_set and config.min_chunk > max_chunk_tokens:
            logger.info(
                "min_chunk lowered from %d to max_num_batched_tokens, %d tokens",
                config.min_chunk,
                max_chunk_tokens,
            )
        self._in_force: _InForce | None = None
        self._num_decodes = 0
        self._decode_context_tokens = 0
        self.target_ms: float | None = None

    def set_model(self, model: LatencyModel, gap_ms: float) -> None:
        """Plans with `model` from the next step on.

        Args:
            model: a stage's compute of a step.
            gap_ms: what a step costs a stage beyond its compute (scheduling, transfer): it is
                paid once a step, so planning counts it with the constant.
        """
        if self._config.smooth_factor == 0:
            return
        planning = _with_overhead(model, gap_ms)
        solver = ChunkSolver(
            planning,
            max_chunk_tokens=self._max_chunk_tokens,
            min_chunk_tokens=self._floor_tokens,
            alignment=self._alignment_tokens,
            smooth_factor=self._config.smooth_factor,
            base_chunk_tokens=self._max_chunk_tokens,
        )
        self._in_force = _InForce(planning, solver)
        if self._config.target == "base":
            self.target_ms = base_target_ms(planning, self._max_chunk_tokens)
        elif self._config.target != "auto":
            self.target_ms = self._config.target
        elif self.target_ms is None:
            # Until the first prompt is admitted: what one of the largest chunk would get.
            self.target_ms = self._best_target_ms(planning, [(self._max_chunk_tokens, 0)])

    def begin_step(self) -> None:
        """A new `schedule()` starts: the step is empty."""
        self._num_decodes = 0
        self._decode_context_tokens = 0
        if self._in_force is not None and self.target_ms is not None:
            self._in_force.solver.begin_step(self.target_ms)

    def admit(self, prompts: Sequence[tuple[int, int]], *, in_progress: bool) -> None:
        """A prompt joins the backlog: with `"auto"`, the target is set anew.

        The decodes that share its steps are paid for in each of them, so they count with the
        constant: the more of them, the fewer and longer steps are best.

        Args:
            prompts: the backlog as (remaining tokens, num_computed_tokens).
            in_progress: other prompts are part-way through. Then the target only grows: the
                pipeline's fill and drain at the present step time are already paid for.
        """
        if self._config.target != "auto" or self._in_force is None:
            return
        model = self._in_force.model
        if self._num_decodes:
            mean_context_tokens = self._decode_context_tokens // self._num_decodes
            decode_ms = model.step_ms([(1, mean_context_tokens)]) - model.constant
            model = _with_overhead(model, self._num_decodes * decode_ms)
        target_ms = self._best_target_ms(model, prompts)
        if in_progress and self.target_ms is not None:
            target_ms = max(target_ms, self.target_ms)
        self.target_ms = target_ms
        self._in_force.solver.set_target(target_ms)
        logger.debug("target %.2f ms a step for %d prompts", target_ms, len(prompts))

    def chunk_tokens(self, remaining: int, num_computed_tokens: int, max_tokens: int) -> int:
        """The chunk for this request in this step; 0 leaves it to a later step."""
        if self._in_force is None:
            return max_tokens
        return self._in_force.solver.chunk_tokens(remaining, num_computed_tokens, max_tokens)

    def add(self, num_tokens: int, num_computed_tokens: int) -> None:
        """The step now holds this chunk or decode as well."""
        if num_tokens == 1:
            self._num_decodes += 1
            self._decode_context_tokens += num_computed_tokens
        if self._in_force is not None:
            self._in_force.solver.add_chunk(num_tokens, num_computed_tokens)

    def _best_target_ms(self, model: LatencyModel, prompts: Sequence[tuple[int, int]]) -> float:
        return best_target_ms(
            model,
            prompts,
            num_stages=self._num_stages,
            max_chunk_tokens=self._max_chunk_tokens,
            min_chunk_tokens=self._floor_tokens,
            alignment=self._alignment_tokens,
        )


class OneChunk:
    """The chooser of the start-up profile: one chunk of exactly this size for the new request.

    Args:
        num_tokens: the chunk.
        held_back_tokens: what earlier passes, still in flight, have left: they get nothing.
    """

    def __init__(self, num_tokens: int, held_back_tokens: int) -> None:
        self._num_tokens = num_tokens
        self._held_back_tokens = held_back_tokens

    def begin_step(self) -> None:
        """Nothing is carried from step to step."""

    def admit(self, prompts: Sequence[tuple[int, int]], *, in_progress: bool) -> None:
        """The size does not depend on what waits."""

    def chunk_tokens(self, remaining: int, num_computed_tokens: int, max_tokens: int) -> int:
        """The size of the pass, or what vLLM allows if that is less."""
        return 0 if remaining <= self._held_back_tokens else min(self._num_tokens, max_tokens)

    def add(self, num_tokens: int, num_computed_tokens: int) -> None:
        """Nothing is summed up."""
