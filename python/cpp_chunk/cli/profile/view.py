"""Remembered profiles in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from cpp_chunk.cli.shared.deployment_view import deployment_rows, layout_text
from cpp_chunk.cli.shared.tables import print_table
from cpp_chunk.report.words import percent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from cpp_chunk.records.profile_file import PipelineProfile
    from cpp_chunk.records.profile_store import StoredProfile

_LIST_GROUPS = (
    ("digest", "model"),
    ("device", "layout"),
    ("measured at (UTC)", "passes", "mean error"),
)
_COEFFICIENT_UNITS = {
    "quadratic": "ms/token²",
    "cross": "ms/token²",
    "linear": "ms/token",
    "context": "ms/token",
    "constant": "ms",
}
# "2026-01-31T12:00", and no seconds.
_MINUTES = 16


def summary_json(entry: StoredProfile) -> dict[str, Any]:
    """A line of the list; without a deployment where the file is not used, and why."""
    summary: dict[str, Any] = {
        "digest": entry.digest,
        "path": str(entry.path),
        "problem": entry.problem,
    }
    if entry.profile is not None:
        profile = entry.profile
        assert profile.deployment is not None  # noqa: S101 - the store keeps no others
        summary |= {
            "deployment": profile.deployment.model_dump(),
            "measured_at": profile.measured_at,
            "num_passes": len(profile.passes),
            "mean_relative_error": profile.mean_relative_error,
        }
    return summary


def profile_json(path: Path, profile: PipelineProfile) -> dict[str, Any]:
    """All of a profile, and where it is."""
    assert profile.deployment is not None  # noqa: S101
    return {
        "digest": profile.deployment.digest,
        "path": str(path),
        "mean_relative_error": profile.mean_relative_error,
        **profile.model_dump(),
    }


def print_list(console: Console, entries: Sequence[StoredProfile]) -> None:
    """A row for each profile that is used, a line for each file that is not."""
    rows = []
    for entry in entries:
        if entry.profile is None or entry.profile.deployment is None:
            continue
        profile, deployment = entry.profile, entry.profile.deployment
        rows.append(
            (
                entry.digest,
                escape(deployment.model),
                escape(deployment.device_name),
                layout_text(deployment),
                _minute(profile),
                f"{len(profile.passes)}",
                _error_text(profile),
            )
        )
    if rows:
        print_table(console, "", _LIST_GROUPS, rows)
    else:
        console.print("no profiles are remembered")
    for entry in entries:
        if entry.problem is not None:
            console.print(f"not used: {escape(entry.problem)}", soft_wrap=True)


def print_profile(console: Console, path: Path, profile: PipelineProfile) -> None:
    """What was profiled, what came out, and from which passes."""
    assert profile.deployment is not None  # noqa: S101
    console.print(f"[bold]{profile.deployment.digest}[/]  {escape(str(path))}", soft_wrap=True)
    cost = f", in {profile.seconds:.1f} s" if profile.seconds is not None else ""
    console.print(
        f"measured at {_minute(profile)} UTC{cost}; mean error {_error_text(profile)} on "
        f"{len(profile.passes)} passes",
        soft_wrap=True,
    )
    console.print("\n[bold]deployment[/]")
    rows = deployment_rows(profile.deployment)
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        console.print(f"  {name:<{width}}  {escape(text)}", soft_wrap=True)
    console.print()
    print_table(
        console,
        f"coefficients; and {profile.gap_ms:.4g} ms between steps",
        (("stage",), *((f"{name} {unit}",) for name, unit in _COEFFICIENT_UNITS.items())),
        [
            (f"{index}", *(f"{getattr(stage, name):.4g}" for name in _COEFFICIENT_UNITS))
            for index, stage in enumerate(profile.stages)
        ],
    )
    if not profile.passes:
        return
    print_table(
        console,
        "passes, in ms",
        (
            ("tokens", "history"),
            *((f"stage {stage}", "model") for stage in range(len(profile.stages))),
        ),
        [
            (
                f"{one.num_tokens}",
                f"{one.num_computed_tokens}",
                *(
                    text
                    for model, measured_ms in zip(profile.to_models(), one.stage_ms, strict=True)
                    for text in (
                        f"{measured_ms:.2f}",
                        f"{model.step_ms([(one.num_tokens, one.num_computed_tokens)]):.2f}",
                    )
                ),
            )
            for one in profile.passes
        ],
    )


def _minute(profile: PipelineProfile) -> str:
    return (profile.measured_at or "-")[:_MINUTES].replace("T", " ")


def _error_text(profile: PipelineProfile) -> str:
    error = profile.mean_relative_error
    return "-" if error is None else percent(error, 1)
