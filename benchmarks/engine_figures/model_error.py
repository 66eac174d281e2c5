"""How well the latency model predicts steps that it was not fitted to."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from cpp_chunk import FitRefused, LatencyModel, fit_latency_model

from benchmarks.engine.pipeline_view import step_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.engine.trace import ProfilePass, Step

Sample = tuple[list[tuple[int, int]], float]


def samples_of(steps: Sequence[Step]) -> list[Sample]:
    """What each step held, and what its slowest stage took."""
    return [
        ([(chunk.num_tokens, chunk.num_computed_tokens) for chunk in step.chunks], step.measured_ms)
        for step in steps
    ]


def relative_errors(model: LatencyModel, samples: Sequence[Sample]) -> list[float]:
    """|predicted / measured - 1| of each."""
    return [abs(model.step_ms(chunks) / latency_ms - 1) for chunks, latency_ms in samples]


def left_out_errors(steps: Sequence[Step]) -> list[float]:
    """Fits every other step of one prompt and predicts those between, then the other way round.

    So the model's form is judged, and not whether the machine is as fast now as it was some
    minutes before. Empty where half of the steps carry no fit.
    """
    samples = samples_of(steps)
    errors: list[float] = []
    for first in (0, 1):
        try:
            model = fit_latency_model(samples[first::2]).model
        except FitRefused:
            return []
        errors += relative_errors(model, samples[1 - first :: 2])
    return errors


def summary(passes: Sequence[ProfilePass], steps: Sequence[Step]) -> dict[str, float]:
    """Two errors of another kind: of the start-up profile alone, and of the model in force."""
    samples = samples_of(steps)
    profile = fit_latency_model(
        [([(p.num_tokens, p.num_computed_tokens)], max(p.stage_ms)) for p in passes]
    )
    in_force = step_errors(steps)
    return {
        "num_steps": len(steps),
        "mean_from_profile": statistics.fmean(relative_errors(profile.model, samples)),
        "mean_when_scheduled": statistics.fmean(in_force) if in_force else float("nan"),
    }
