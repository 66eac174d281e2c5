"""What the calibration promises: from measured steps and times to rows that hold or do not hold."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from cpp_chunk import FitRefused, fit_latency_model

from benchmarks.calibration.reference_forms import online_form, zero_history_form
from benchmarks.engine_figures.model_error import samples_of
from benchmarks.shared.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.engine.trace import Step, Trace
    from benchmarks.engine_figures.model_error import Sample

COMMAND = "make bench"
MAX_PROFILE_ERROR = {
    "dense": 0.05,
    "dense-wide": 0.05,
    "moe": 0.05,
    "sliding-window": 0.08,
    "mixed-window": 0.08,
    "hybrid-short-conv": 0.08,
}
MAX_SERVED_ERROR = 0.03
NUM_SERVED_STEPS = 200
MAX_FIRST_PASSES = 16
MAX_REMEMBERED_PASSES = 3
MAX_FIRST_TTFT = 1.05
DRIFT_FACTOR = 1.5
NUM_DRIFT_STEPS = 64
MAX_ERROR_AFTER_DRIFT = 0.06
MAX_TTFT_AFTER_SHORT = 1.03
MAX_TIMER_COST = 1.01
MAX_REFIT_US = 100.0


def calibration_row(
    figure: str, value: float, limit: float, by_case: Mapping[str, float], **more: Any
) -> Figure:
    """One row of this part, with the values behind it."""
    details = {"part": "calibration", "by_case": dict(by_case), "notes": "", **more}
    return Figure(figure, value, limit, COMMAND, details=details)


def profile_error_figure(model: str, start: Trace, steps: Sequence[Step]) -> Figure:
    """The start-up profile alone, on steps that were served after it."""
    stage_models = start.models[0].stages
    served = samples_of(steps)
    profiled: list[Sample] = [
        ([(p.num_tokens, p.num_computed_tokens)], max(p.stage_ms)) for p in start.profile_passes
    ]

    def predict(chunks: list[tuple[int, int]]) -> float:
        return max(model.step_ms(chunks) for model in stage_models)

    return calibration_row(
        f"{model}: error of the start-up profile on served steps, mean",
        mean_error(predict, served),
        MAX_PROFILE_ERROR[model],
        {
            "p95": p95_error(predict, served),
            "the reference's start-up form": form_error(zero_history_form, profiled, served),
            "the reference's online form": form_error(online_form, profiled, served),
            "steps": len(served),
        },
        chunk_tokens=span([n for chunks, _ in served for n, _ in chunks]),
        history_tokens=span([h for chunks, _ in served for _, h in chunks]),
    )


def served_error_figure(model: str, steps: Sequence[Step]) -> Figure:
    """The models in force on steps after the first 200, which no fit had seen when predicting."""
    before, after = steps[:NUM_SERVED_STEPS], steps[NUM_SERVED_STEPS:]
    # As the reference learns: thirty samples, then no more.
    learnt = samples_of(before)[:30]
    served = samples_of(after)
    errors = errors_when_scheduled(after)
    return calibration_row(
        f"{model}: error of the models in force after {NUM_SERVED_STEPS} served steps, mean",
        statistics.fmean(errors) if errors else math.nan,
        MAX_SERVED_ERROR,
        {
            "median": statistics.median(errors) if errors else math.nan,
            "of the first 200": statistics.fmean(errors_when_scheduled(before)),
            **shared_and_lone_errors(after),
            "our form fitted in hindsight": hindsight_error(after),
            "the reference's start-up form": form_error(zero_history_form, learnt, served),
            "the reference's online form": form_error(online_form, learnt, served),
            "steps": len(after),
        },
    )


def shared_and_lone_errors(steps: Sequence[Step]) -> dict[str, float]:
    """Steps that hold one prompt's chunk only, and those that prompts and decodes share."""
    kinds = {
        "steps of one prompt": [step for step in steps if len(step.chunks) == 1],
        "steps that several share": [step for step in steps if len(step.chunks) > 1],
    }
    return {
        kind: statistics.fmean(errors)
        for kind, some in kinds.items()
        if (errors := errors_when_scheduled(some))
    }


def form_error(
    fit: Callable[[Sequence[Sample]], Callable[[list[tuple[int, int]]], float]],
    fitted: Sequence[Sample],
    served: Sequence[Sample],
) -> float:
    """Of another's form, fitted to the same data as ours; NaN where that data carries none."""
    try:
        return mean_error(fit(fitted), served)
    except ValueError:
        return math.nan


def errors_when_scheduled(steps: Sequence[Step]) -> list[float]:
    """|predicted / measured - 1| of each step that was predicted."""
    return [
        abs(step.predicted_ms / step.measured_ms - 1)
        for step in steps
        if step.predicted_ms is not None
    ]


def hindsight_error(steps: Sequence[Step]) -> float:
    """What the form leaves over, fitted to the very steps: the machine's noise is in it."""
    samples = samples_of(steps)
    try:
        fit = fit_latency_model(samples).model
    except FitRefused:
        return math.nan
    return mean_error(fit.step_ms, samples)


def mean_error(
    predict: Callable[[list[tuple[int, int]]], float], samples: Sequence[Sample]
) -> float:
    """Mean of |predicted / measured - 1|."""
    return statistics.fmean(abs(predict(chunks) / ms - 1) for chunks, ms in samples)


def p95_error(
    predict: Callable[[list[tuple[int, int]]], float], samples: Sequence[Sample]
) -> float:
    """95th percentile of |predicted / measured - 1|."""
    errors = [abs(predict(chunks) / ms - 1) for chunks, ms in samples]
    return statistics.quantiles(errors, n=20)[-1]


def span(values: Sequence[int]) -> list[int]:
    """Smallest and largest."""
    return [min(values), max(values)]


def start_figures(
    passes: Mapping[str, Sequence[int]], seconds: Mapping[str, Sequence[float]]
) -> list[Figure]:
    """Passes of first and of remembered starts, with the seconds that they took."""
    limits = {"first": MAX_FIRST_PASSES, "remembered": MAX_REMEMBERED_PASSES}
    return [
        calibration_row(
            f"start-up passes, {kind} start",
            max(passes[kind], default=math.nan),
            limit,
            {f"seconds, start {i + 1}": one for i, one in enumerate(seconds[kind])},
        )
        for kind, limit in limits.items()
    ]


def first_prompt_figure(ttfts_s: Sequence[Sequence[float]]) -> Figure:
    """The first long prompt after a start against the tenth: the median of several starts."""
    ratios = [one[0] / one[9] for one in ttfts_s]
    return calibration_row(
        "TTFT of the first long prompt after start / of the tenth",
        statistics.median(ratios),
        MAX_FIRST_TTFT,
        {f"start {i + 1}": ratio for i, ratio in enumerate(ratios)},
        ttfts_s=[list(one) for one in ttfts_s],
    )


def drift_figure(steps: Sequence[Step], start_s: float) -> Figure:
    """Error once 64 steps have been served in drift, and when it first was below the limit."""
    drifted = [step for step in steps if step.stages[0].start_s >= start_s]
    errors = errors_when_scheduled(drifted)
    window = 16
    followed = next(
        (
            end
            for end in range(window, len(errors))
            if statistics.fmean(errors[end - window : end]) <= MAX_ERROR_AFTER_DRIFT
        ),
        None,
    )
    after = errors[NUM_DRIFT_STEPS:]
    return calibration_row(
        f"error more than {NUM_DRIFT_STEPS} steps after all take {DRIFT_FACTOR:g} times as long",
        statistics.fmean(after) if after else math.nan,
        MAX_ERROR_AFTER_DRIFT,
        {
            "of the first 16 steps": statistics.fmean(errors[:window]),
            "steps until the last 16 are within the limit": followed or math.nan,
            "steps": len(after),
        },
    )


def after_short_figure(ratios: Sequence[float]) -> Figure:
    """A long prompt after three 8-token requests against one without, engine beside engine."""
    return calibration_row(
        "TTFT of a long prompt right after start, after three 8-token requests / without",
        statistics.median(ratios),
        MAX_TTFT_AFTER_SHORT,
        {f"pair {i + 1}": ratio for i, ratio in enumerate(ratios)},
    )


def timer_cost_figure(
    with_timers_s: Sequence[float], without_s: Sequence[float], num_steps: int
) -> Figure:
    """Small decodes with the timers on against `need_timing: false`, turn by turn."""
    ratios = [a / b for a, b in zip(with_timers_s, without_s, strict=True)]
    return calibration_row(
        f"{num_steps} steps of small decodes, timers on / off",
        statistics.median(ratios),
        MAX_TIMER_COST,
        {
            "smallest turn": min(ratios),
            "largest turn": max(ratios),
            "a step, ms": 1e3 * statistics.median(with_timers_s) / num_steps,
        },
    )


def refit_figure(refit_us: float) -> Figure:
    """One refit, which runs in a thread of its own."""
    name = "refit of one stage, 16 passes and 128 steps, us"
    return calibration_row(name, refit_us, MAX_REFIT_US, {})
