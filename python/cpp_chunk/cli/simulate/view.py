"""A comparison of policies in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpp_chunk.cli.shared.tables import print_table
from cpp_chunk.report.words import duration, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cpp_chunk.cli.simulate.comparison import PolicyRun

# Of more stages than this, the mean bubble and the largest are shown.
_MAX_BUBBLES = 4

_FRONT = ("policy", "TTFT mean", "p50", "p90", "p99")
_OF_DECODES = ("inter-token mean", "p99", "output tokens/s")
_BACK = ("prompt tokens/s", "bubbles by stage", "makespan")


# What the figures mean, under the table.
_NOTE = (
    "TTFT is from when a request entered: when it arrived or, where --concurrency let it wait, "
    "when its place was free. Bubbles are the share of a stage's time, from its first step to its "
    "last, in which it had nothing to do: one number where all stages have the same."
)
_CACHED_NOTE = " Tokens that were cached are not in prompt tokens/s."


def comparison_groups(runs: Sequence[PolicyRun]) -> tuple[tuple[str, ...], ...]:
    """The columns by what they are about; those of decodes only where there are any."""
    return (_FRONT, _OF_DECODES, _BACK) if _has_decodes(runs) else (_FRONT, _BACK)


def comparison_headings(runs: Sequence[PolicyRun]) -> tuple[str, ...]:
    """All columns."""
    return tuple(heading for group in comparison_groups(runs) for heading in group)


def comparison_rows(runs: Sequence[PolicyRun]) -> list[tuple[str, ...]]:
    """A row of text for each policy, under the headings."""
    rows = []
    has_decodes = _has_decodes(runs)
    for run in runs:
        result = run.result
        ttft, inter_token = result.ttft_ms, result.inter_token_ms
        row = [run.label, *(duration(ms) for ms in (ttft.mean, ttft.p50, ttft.p90, ttft.p99))]
        if has_decodes:
            row += [
                duration(inter_token.mean),
                duration(inter_token.p99),
                f"{result.output_tokens_per_s:.1f}",
            ]
        row += [
            f"{result.prompt_tokens_per_s:.0f}",
            bubbles_text(result.bubble_share),
            duration(result.makespan_ms),
        ]
        rows.append(tuple(row))
    return rows


def _has_decodes(runs: Sequence[PolicyRun]) -> bool:
    return any(run.result.inter_token_ms.count for run in runs)


def bubbles_text(shares: Sequence[float]) -> str:
    """Idle share of each stage; one number where all are alike, mean and largest of many."""
    words = [percent(share) for share in shares]
    if len(set(words)) == 1:
        return words[0]
    if len(shares) > _MAX_BUBBLES:
        mean = sum(shares) / len(shares)
        return f"{percent(mean)} mean, {percent(max(shares))} max"
    return " / ".join(f"{100 * share:.0f}" for share in shares) + " %"


def print_comparison(
    console: Console, runs: Sequence[PolicyRun], title: str, *, has_cached: bool
) -> None:
    """The table, the lowest mean time to first token in bold, and what its figures mean."""
    best_ms = min(run.result.ttft_ms.mean for run in runs)
    best = [index for index, run in enumerate(runs) if run.result.ttft_ms.mean == best_ms]
    rows = comparison_rows(runs)
    print_table(console, title, comparison_groups(runs), rows, bold_rows=best)
    console.print(note_text(runs, has_cached=has_cached))


def note_text(runs: Sequence[PolicyRun], *, has_cached: bool) -> str:
    """What the figures mean, and which bases were tried."""
    cached = _CACHED_NOTE if has_cached else ""
    return f"{_NOTE}{cached} {_tried_text(runs)}".rstrip()


def _tried_text(runs: Sequence[PolicyRun]) -> str:
    """Which bases were tried where the user named none; empty where none were."""
    swept = [run for run in runs if run.tried_ms]
    if not swept:
        return ""
    words = "; ".join(
        f"{run.setting.name} " + ", ".join(str(setting.base_tokens) for setting, _ in run.tried_ms)
        for run in swept
    )
    return f"Shown at the base with the lowest mean TTFT, of: {words}."
