"""What the scheduler asks of whoever chooses chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class ChunkChooser(Protocol):
    """Who decides how many tokens a prefill gets. All counts are tokens."""

    def set_backlog(
        self,
        prompts: Sequence[tuple[int, int]],
        num_under_way: int,
        num_decodes: int = 0,
        decode_context_tokens: int = 0,
        tokens_per_decode: int = 1,
    ) -> None:
        """Requests have come, gone, or ended their prefill.

        `prompts` are (remaining, num_computed_tokens), under way first.
        """

    def begin_step(self) -> None:
        """A new `schedule()` starts: the step is empty."""

    def chunk_tokens(
        self, remaining: int, num_computed_tokens: int, max_tokens: int, share: float = 1.0
    ) -> int:
        """The chunk for this request in this step; 0 leaves it to a later step.

        `share`: what the request may have of the step's time.
        """

    def add_chunk(self, num_tokens: int, num_computed_tokens: int) -> None:
        """The step now holds this chunk as well."""

    def add_decodes(self, num_decodes: int, num_computed_tokens: int, tokens_each: int = 1) -> None:
        """The step now holds these decodes as well, with this much history in all."""

    def scheduled(self, step_id: int, prefills: Sequence[tuple[int, int]]) -> None:
        """A step went off with these chunks, as (num_tokens, num_computed_tokens)."""

    def left(self, step_id: int) -> None:
        """A step has left the last stage."""
