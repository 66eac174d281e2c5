"""The chooser of the start-up profile: the chunk is the pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class OneChunk:
    """One chunk of exactly this size for the new request.

    Args:
        num_tokens: the chunk.
        held_back_tokens: what earlier passes, still in flight, have left: they get nothing.
    """

    def __init__(self, num_tokens: int, held_back_tokens: int) -> None:
        self._num_tokens = num_tokens
        self._held_back_tokens = held_back_tokens

    def set_backlog(
        self,
        prompts: Sequence[tuple[int, int]],
        num_under_way: int,
        num_decodes: int = 0,
        decode_context_tokens: int = 0,
        tokens_per_decode: int = 1,
    ) -> None:
        """The size does not depend on what waits."""

    def begin_step(self) -> None:
        """Nothing is carried from step to step."""

    def chunk_tokens(
        self, remaining: int, num_computed_tokens: int, max_tokens: int, share: float = 1.0
    ) -> int:
        """The size of the pass, or what vLLM allows if that is less."""
        return 0 if remaining <= self._held_back_tokens else min(self._num_tokens, max_tokens)

    def add_chunk(self, num_tokens: int, num_computed_tokens: int) -> None:
        """Nothing is summed up."""

    def add_decodes(self, num_decodes: int, num_computed_tokens: int, tokens_each: int = 1) -> None:
        """Nothing is summed up."""

    def scheduled(self, step_id: int, prefills: Sequence[tuple[int, int]]) -> None:
        """Nothing is carried from step to step."""

    def left(self, step_id: int) -> None:
        """Nothing waits for it."""
