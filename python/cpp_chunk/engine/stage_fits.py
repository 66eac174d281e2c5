"""Fit: a latency model for every stage, from the profile and from the steps that were served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cpp_chunk._core import (
    Calibrator,
    FitRefused,
    FitReport,
    LatencyModel,
    fit_latency_model,
)

# A larger mean error is more than noise: the formula does not describe all passes.
_MAX_PROFILE_ERROR = 0.04
_MUCH_BETTER = 0.8

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
        profile: measured passes: the prior of every refit.
        num_stages: times that each sample brings.
        capacity: most recent steps remembered.
    """

    def __init__(self, profile: Sequence[StepSample], num_stages: int, capacity: int) -> None:
        self._calibrators = [
            Calibrator(samples_of_stage(profile, stage), capacity=capacity)
            for stage in range(num_stages)
        ]

    @property
    def num_drifts(self) -> int:
        """How often the steps of a stage drifted from its model, and it followed."""
        return sum(calibrator.num_drifts for calibrator in self._calibrators)

    @property
    def num_rejected(self) -> int:
        """Samples whose time was none: dropped."""
        return max(calibrator.num_rejected for calibrator in self._calibrators)

    def update(self, samples: Sequence[StepSample]) -> StageFits:
        """Remembers steps and fits every stage anew.

        Raises:
            FitRefused: one of the stages carries no fit; what was in force stays so for all.
        """
        for chunks, stage_ms in samples:
            for calibrator, latency_ms in zip(self._calibrators, stage_ms, strict=True):
                calibrator.add(chunks, latency_ms)
        return StageFits(tuple(calibrator.refit() for calibrator in self._calibrators))


def fit_stages(samples: Sequence[StepSample], num_stages: int) -> StageFits:
    """One fit a stage over the same passes.

    Raises:
        FitRefused: one of the stages carries no fit.
    """
    return StageFits(
        tuple(fit_latency_model(samples_of_stage(samples, stage)) for stage in range(num_stages))
    )


def fit_profile(
    samples: Sequence[StepSample], num_stages: int
) -> tuple[list[StepSample], StageFits]:
    """One fit a stage, over the passes that one formula describes.

    With a sliding window, a chunk without history costs less than the formula can say of the
    others: beyond the window, history costs nothing more. A prompt has one such chunk, and many
    that have a history; where both do not go together, these count.

    Returns:
        The passes that were used, and the fits.

    Raises:
        FitRefused: one of the stages carries no fit.
    """
    every = list(samples)
    fits = fit_stages(every, num_stages)
    error = fits.worst.mean_relative_error
    if error <= _MAX_PROFILE_ERROR:
        return every, fits
    resumed = [sample for sample in every if all(history for _, history in sample[0])]
    try:
        resumed_fits = fit_stages(resumed, num_stages)
    except FitRefused:
        return every, fits
    if resumed_fits.worst.mean_relative_error > _MUCH_BETTER * error:
        return every, fits
    return resumed, resumed_fits


def samples_of_stage(samples: Sequence[StepSample], stage: int) -> list[tuple[Chunks, float]]:
    """The samples as one stage saw them."""
    return [(chunks, stage_ms[stage]) for chunks, stage_ms in samples]
