"""How well a model fitted to the start-up profile alone predicts the steps served later."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.trace import ProfilePass, Step


@dataclass(frozen=True)
class StepError:
    """Relative error of one served step: of the profile's model, and of the model in force then."""

    from_profile: float
    when_scheduled: float | None


def step_errors_of_profile(passes: Sequence[ProfilePass], steps: Sequence[Step]) -> list[StepError]:
    """Fit the profile's passes, then predict the steps, none of which is in the fit."""
    from cpp_chunk import fit_latency_model

    model = fit_latency_model(
        [([(p.num_tokens, p.num_computed_tokens)], max(p.stage_ms)) for p in passes]
    ).model
    errors = []
    for step in steps:
        chunks = [(chunk.num_tokens, chunk.num_computed_tokens) for chunk in step.chunks]
        measured_ms = step.measured_ms
        in_force_ms = step.predicted_ms
        errors.append(
            StepError(
                abs(model.step_ms(chunks) - measured_ms) / measured_ms,
                None if in_force_ms is None else abs(in_force_ms - measured_ms) / measured_ms,
            )
        )
    return errors


def summary(errors: Sequence[StepError]) -> dict[str, float]:
    """Means, for the details of a row."""
    in_force = [e.when_scheduled for e in errors if e.when_scheduled is not None]
    return {
        "num_steps": len(errors),
        "mean_from_profile": statistics.fmean(e.from_profile for e in errors),
        "mean_when_scheduled": statistics.fmean(in_force) if in_force else float("nan"),
    }
