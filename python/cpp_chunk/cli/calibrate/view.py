"""A calibration in the terminal: the first prompt against the last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpp_chunk.cli.shared.tables import print_table
from cpp_chunk.report.words import duration, grouped, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cpp_chunk.cli.calibrate.server_calibration import PromptRun

_GROUPS = (
    ("prompt", "TTFT", "prediction error", "steps measured"),
    ("refits so far", "chunks"),
)
_NOTE = (
    "Prediction error is the mean of |predicted / measured - 1| of the prompt's steps, as each was "
    "predicted when it was scheduled."
)
_UNKNOWN = "-"


def print_calibration(
    console: Console, runs: Sequence[PromptRun], prompt_tokens: int, model: str
) -> None:
    """The table, and what its figures mean.

    Args:
        console: where to.
        runs: two or more, in order.
        prompt_tokens: of each prompt.
        model: its name at the server.
    """
    rows = [_row("1 (before)", runs[0]), _row(f"{len(runs)} (after)", runs[-1])]
    title = f"{len(runs)} prompts of {grouped(prompt_tokens)} tokens, {model}"
    print_table(console, title, _GROUPS, rows)
    console.print(_NOTE)


def _row(name: str, run: PromptRun) -> tuple[str, ...]:
    error, after = run.prediction_error, run.after
    return (
        name,
        duration(run.ttft_ms),
        _UNKNOWN if error is None else percent(error, 1),
        f"{run.measured_steps}",
        _UNKNOWN if after.refits is None else f"{after.refits}",
        _UNKNOWN if after.is_dynamic is None else "dynamic" if after.is_dynamic else "fixed",
    )
