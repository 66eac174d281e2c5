"""Fit: a latency model for every stage, from the profile and from the steps that were served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cpp_chunk._core import Calibrator, FitReport, LatencyModel, fit_latency_model

Chunks = list[tuple[int, int]]
# A step's chunks as (num_tokens, num_computed_tokens), and its compute on each stage in ms.
StepSample = tuple[Chunks, Sequence[float]]


@dataclass(frozen=True)
class StageFits:
    """One fit a stage, in the order of the pipeline."""

    reports: tuple[FitReport, ...]

    @property
    def models(self) -> tuple[LatencyModel, ...]:
        """Each stage's model."""
        return tuple(report.model for report in self.reports)

    @property
    def worst(self) -> FitReport:
        """The fit with the largest mean error: what the others can be trusted more than."""
        return max(self.reports, key=lambda report: report.mean_relative_error)


class StageCalibrators:
    """Refits all stages over the profile and the most recent steps.

    Args:
        profile: measured passes, in every refit.
        num_stages: times that each sample brings.
        capacity: most recent steps remembered.
    """

    def __init__(self, profile: Sequence[StepSample], num_stages: int, capacity: int) -> None:
        self._calibrators = [
            Calibrator(samples_of_stage(profile, stage), capacity=capacity)
            for stage in range(num_stages)
        ]

    def add(self, chunks: Chunks, stage_ms: Sequence[float]) -> None:
        """Remembers a step. Unusable samples are counted by the core and dropped."""
        for calibrator, latency_ms in zip(self._calibrators, stage_ms, strict=True):
            calibrator.add(chunks, latency_ms)

    def refit(self) -> StageFits:
        """Fits every stage anew.

        Raises:
            FitRefused: one of the stages carries no fit; what was in force stays so for all.
        """
        return StageFits(tuple(calibrator.refit() for calibrator in self._calibrators))


def fit_stages(samples: Sequence[StepSample], num_stages: int) -> StageFits:
    """One fit a stage over the same passes.

    Raises:
        FitRefused: one of the stages carries no fit.
    """
    return StageFits(
        tuple(fit_latency_model(samples_of_stage(samples, stage)) for stage in range(num_stages))
    )


def samples_of_stage(samples: Sequence[StepSample], stage: int) -> list[tuple[Chunks, float]]:
    """The samples as one stage saw them."""
    return [(chunks, stage_ms[stage]) for chunks, stage_ms in samples]
