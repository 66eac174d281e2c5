"""What the scheduler tells whoever learns from steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vllm.v1.request import Request

    from cpp_chunk.engine.book import BookedStep


class StepListener(Protocol):
    """Who hears of each step. What is said of the end raises nothing, whatever fails in it."""

    def scheduled(self, booked: BookedStep, requests: Mapping[str, Request]) -> None:
        """`schedule()` has made this step."""

    def processed(self, *, idle: bool) -> None:
        """A step's output was processed; `idle`: nothing else is under way."""

    def fell_back(self, reason: str, words: str) -> None:
        """Chunks are fixed from here on: the kind of reason, for a metric, and what happened."""

    def ended(self) -> None:
        """The engine stops."""
