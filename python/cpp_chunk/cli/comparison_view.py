"""A comparison of policies in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from cpp_chunk.report.words import duration, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpp_chunk.cli.comparison import PolicyRun

# Of more stages than this, the mean bubble and the largest are shown.
_MAX_BUBBLES = 4

HEADINGS = (
    "policy",
    "TTFT mean",
    "p50",
    "p90",
    "p99",
    "inter-token mean",
    "p99",
    "prompt tokens/s",
    "output tokens/s",
    "bubbles by stage",
    "makespan",
)


def comparison_rows(runs: Sequence[PolicyRun]) -> list[tuple[str, ...]]:
    """A row of text for each policy."""
    rows = []
    for run in runs:
        result = run.result
        ttft, inter_token = result.ttft_ms, result.inter_token_ms
        rows.append(
            (
                run.label,
                *(duration(ms) for ms in (ttft.mean, ttft.p50, ttft.p90, ttft.p99)),
                *(
                    duration(ms) if inter_token.count else "-"
                    for ms in (inter_token.mean, inter_token.p99)
                ),
                f"{result.prompt_tokens_per_s:.0f}",
                f"{result.output_tokens_per_s:.1f}",
                bubbles_text(result.bubble_share),
                duration(result.makespan_ms),
            )
        )
    return rows


def bubbles_text(shares: Sequence[float]) -> str:
    """Idle share of each stage, or of many stages the mean and the largest."""
    if len(shares) > _MAX_BUBBLES:
        mean = sum(shares) / len(shares)
        return f"{percent(mean)} mean, {percent(max(shares))} max"
    return " / ".join(f"{100 * share:.0f}" for share in shares) + " %"


def comparison_table(runs: Sequence[PolicyRun], title: str) -> Table:
    """The table, the lowest mean time to first token in bold."""
    table = Table(title=title)
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == HEADINGS[0] else "right")
    best_ms = min(run.result.ttft_ms.mean for run in runs)
    for run, row in zip(runs, comparison_rows(runs), strict=True):
        is_best = run.result.ttft_ms.mean == best_ms
        table.add_row(*row, style="bold" if is_best else None)
    return table
