"""A pipeline's models and limits in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpp_chunk.report.words import percent

if TYPE_CHECKING:
    from rich.console import Console

    from cpp_chunk._core import LatencyModel
    from cpp_chunk.cli.shared.latency_source import Pipeline
    from cpp_chunk.cli.shared.limits import PlanLimits


def coefficients_text(model: LatencyModel) -> str:
    """All five, in the order of the formula."""
    return (
        f"quadratic {model.quadratic:.4g}, cross {model.cross:.4g}, linear {model.linear:.4g}, "
        f"context {model.context:.4g}, constant {model.constant:.4g}"
    )


def print_pipeline(console: Console, pipeline: Pipeline, limits: PlanLimits) -> None:
    """The latency model, how well it fits where it was fitted here, and the limits."""
    num_stages = len(pipeline.stages)
    if pipeline.is_even:
        console.print(
            f"[bold]{num_stages} equal stages[/]" if num_stages > 1 else "[bold]1 stage[/]"
        )
        console.print(f"  {coefficients_text(pipeline.stages[0])}", soft_wrap=True)
    else:
        console.print(f"[bold]{num_stages} stages[/]")
        for stage, model in enumerate(pipeline.stages):
            console.print(f"  {stage}: {coefficients_text(model)}", soft_wrap=True)
    for stage, fit in enumerate(pipeline.fits):
        console.print(
            f"  fit of stage {stage}: {fit.num_points} points, {fit.num_outliers} outliers, "
            f"relative error {percent(fit.mean_relative_error, 1)} in the mean, "
            f"{percent(fit.p95_relative_error, 1)} at p95",
            soft_wrap=True,
        )
    multiples = "".join(f", better of {multiple}" for multiple in limits.preferred_multiples)
    console.print(
        f"  gap {pipeline.gap_ms:.4g} ms a step; chunks of {limits.min_chunk_tokens} to "
        f"{limits.max_chunk_tokens} tokens, multiples of {limits.alignment}{multiples}",
        soft_wrap=True,
    )
