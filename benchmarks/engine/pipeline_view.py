"""What one prompt did to the pipeline: its steps, each stage's work, what the model had said."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.engine.trace import ModelFit, Step
    from benchmarks.engine.workload import Mode, Round, WorkloadResult


@dataclass(frozen=True)
class PipelineRound:
    """One round of a workload, with the steps that computed it."""

    start_s: float
    ttft_s: float
    steps: tuple[Step, ...]
    # What a step costs beyond its compute, which is all that steps are predicted and measured by.
    gap_ms: float = 0.0

    @property
    def chunks(self) -> tuple[int, ...]:
        """New tokens of each step."""
        return tuple(step.num_tokens for step in self.steps)

    @property
    def num_stages(self) -> int:
        """Stages that reported times."""
        return max((len(step.stages) for step in self.steps), default=0)

    @property
    def stage_busy_s(self) -> tuple[float, ...]:
        """Seconds that each stage computed."""
        return tuple(
            sum(step.stages[stage].compute_ms for step in self.steps if stage < len(step.stages))
            / 1e3
            for stage in range(self.num_stages)
        )

    @property
    def stage_busy_share(self) -> tuple[float, ...]:
        """Share of the time to first token that each stage computed."""
        return tuple(busy_s / self.ttft_s for busy_s in self.stage_busy_s)

    @property
    def predicted_ttft_s(self) -> float | None:
        """The flow-shop sum of the predictions made when the steps were scheduled."""
        predicted_ms = [step.predicted_ms for step in self.steps]
        known_ms = [ms for ms in predicted_ms if ms is not None]
        if not known_ms or len(known_ms) < len(predicted_ms):
            return None
        return flow_shop_ms([ms + self.gap_ms for ms in known_ms], self.num_stages) / 1e3

    @property
    def mean_step_error(self) -> float | None:
        """Mean of |predicted - measured| / measured over the steps."""
        errors = step_errors(self.steps)
        return statistics.fmean(errors) if errors else None


@dataclass(frozen=True)
class EngineView:
    """All rounds of one workload on one engine."""

    mode: Mode
    max_num_batched_tokens: int
    rounds: tuple[PipelineRound, ...]
    model: ModelFit | None = None

    @property
    def ttfts_s(self) -> tuple[float, ...]:
        """Time to first token of each round."""
        return tuple(r.ttft_s for r in self.rounds)

    @property
    def median_round(self) -> PipelineRound:
        """The round whose time to first token is the median (the lower one of an even number)."""
        return sorted(self.rounds, key=lambda r: r.ttft_s)[(len(self.rounds) - 1) // 2]


def flow_shop_ms(step_ms: Sequence[float], num_stages: int) -> float:
    """When the last of these steps leaves a pipeline of equal stages."""
    return sum(step_ms) + (num_stages - 1) * max(step_ms, default=0.0)


def step_errors(steps: Iterable[Step]) -> list[float]:
    """|predicted - measured| / measured of each step that has a prediction."""
    return [
        abs(step.predicted_ms - step.measured_ms) / step.measured_ms
        for step in steps
        if step.predicted_ms is not None and step.measured_ms > 0
    ]


def steps_of_round(steps: Iterable[Step], timed_round: Round) -> tuple[Step, ...]:
    """The steps whose first stage began within the round.

    By time and not by request id: vLLM makes its own ids, while rounds never overlap and all
    processes share one clock.
    """
    return tuple(
        sorted(
            (s for s in steps if timed_round.start_s <= s.stages[0].start_s <= timed_round.end_s),
            key=lambda s: s.stages[0].start_s,
        )
    )


def pipeline_rounds(
    result: WorkloadResult, steps: Sequence[Step], gap_ms: float = 0.0
) -> tuple[PipelineRound, ...]:
    """Put each round of a workload together with its steps."""
    return tuple(
        PipelineRound(r.start_s, r.wall_s, steps_of_round(steps, r), gap_ms) for r in result.rounds
    )
