"""Where words go: results to standard output, progress and complaints to standard error."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Where nobody tells a width, as in a file or a pipe, tables are wider than the usual guess.
_WIDTH_ELSEWHERE = 140


def result_console() -> Console:
    """For what the user asked for."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE, highlight=False)


@contextmanager
def progress(num_runs: int) -> Iterator[Callable[[str], None]]:
    """A progress bar on standard error, if that is a terminal.

    Yields:
        To be called before each run, with its name.
    """
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=num_runs)
        begun = 0

        def begin(name: str) -> None:
            nonlocal begun
            bar.update(task, description=name, completed=begun)
            begun += 1

        yield begin
