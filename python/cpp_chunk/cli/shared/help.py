"""Help that ends with examples which can be pasted."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from typer.core import TyperCommand


def with_examples(examples: str) -> type[TyperCommand]:
    """A kind of command whose help ends with these lines, as they are.

    Typer's own epilog is wrapped and padded to the terminal's width: what is copied from it breaks
    in the middle of an option, or a backslash is followed by spaces and continues nothing.
    """

    class _Command(TyperCommand):
        def format_help(self, ctx: Any, formatter: Any) -> None:
            super().format_help(ctx, formatter)
            Console(highlight=False).print(examples, soft_wrap=True, end="")

    return _Command
