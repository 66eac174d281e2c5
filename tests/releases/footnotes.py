"""Footnotes of a page, numbered as they come."""

from __future__ import annotations


class Footnotes:
    """A text that several cells need has one number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, text: str) -> str:
        """What stands in a cell for this text."""
        return f"[{self._numbers.setdefault(text, len(self._numbers) + 1)}]"

    @property
    def lines(self) -> list[str]:
        """All of them, in their order."""
        return [f"[{number}] {text}" for text, number in self._numbers.items()]
