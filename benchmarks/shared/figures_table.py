"""Rows of figures for the terminal and for files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.shared.figures import Figure


def write_rows(path: Path, rows: Sequence[Figure]) -> None:
    """Write all rows as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([row.to_json() for row in rows], indent=1) + "\n", encoding="utf-8")


def figures_table(rows: Sequence[Figure], title: str = "Figures") -> Table:
    """All rows for the terminal."""
    result = Table(title=title)
    for heading in ("figure", "value", "must be", "holds"):
        result.add_column(heading)
    for row in rows:
        sign = "≥" if row.is_lower_bound else "≤"
        result.add_row(
            row.figure,
            f"{row.value:.3g}",
            f"{sign} {row.limit:g}",
            "yes" if row.holds else "[bold red]no[/]",
        )
    return result


def cases_table(rows: Sequence[Figure]) -> Table:
    """The values behind the rows that have any."""
    result = Table(title="Values behind the figures")
    for heading in ("figure", "case", "value"):
        result.add_column(heading)
    for row in rows:
        for index, (case, value) in enumerate(row.details.get("by_case", {}).items()):
            result.add_row(row.figure if index == 0 else "", case, f"{value:.5g}")
    return result
