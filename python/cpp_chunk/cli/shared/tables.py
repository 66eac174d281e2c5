"""Tables of which no heading and no number is ever cut off."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from rich.console import Console


def print_table(
    console: Console,
    title: str,
    groups: Sequence[Sequence[str]],
    rows: Sequence[Sequence[str]],
    *,
    bold_rows: Collection[int] = (),
) -> None:
    """Prints one table; where it does not fit the console, several, split between the groups.

    Args:
        console: where to.
        title: above the first table.
        groups: headings of the columns that stay together, group by group. The first column of all
            names the rows, and every table begins with it.
        rows: as many cells as there are headings.
        bold_rows: indices of the rows to stress.
    """
    headings = [heading for group in groups for heading in group]
    ends = [sum(map(len, groups[: index + 1])) for index in range(len(groups))]

    def table(columns: Sequence[int], title: str) -> Table:
        made = Table(title=title or None)
        for column in (0, *columns):
            made.add_column(headings[column], justify="right" if column else "left", no_wrap=True)
        for index, row in enumerate(rows):
            style = "bold" if index in bold_rows else None
            made.add_row(*(row[column] for column in (0, *columns)), style=style)
        # Its own, or a console that is narrower still would cut cells off.
        unbounded = console.options.update(max_width=sys.maxsize)
        made.width = console.measure(made, options=unbounded).maximum
        return made

    start = 1
    while start < len(headings):
        # As many groups as fit, and one that does not where none does.
        tables = [table(range(start, end), title) for end in ends if end > start]
        fitting = [one for one in tables if (one.width or 0) <= console.width]
        chosen = fitting[-1] if fitting else tables[0]
        # Lines longer than the console are the terminal's to wrap.
        console.print(chosen, crop=False)
        start, title = start + len(chosen.columns) - 1, ""
