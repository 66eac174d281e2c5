"""What the engine allows a chunk and a step to be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cpp_chunk.cli.shared.errors import wrong_value

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class PlanLimits:
    """Limits of a chunk, in tokens, and of a step, in ms."""

    max_chunk_tokens: int
    min_chunk_tokens: int
    alignment: int
    preferred_multiples: tuple[int, ...] = ()
    max_step_ms: float = math.inf

    @property
    def arguments(self) -> dict[str, Any]:
        """As the core's functions take them."""
        return {
            "max_chunk_tokens": self.max_chunk_tokens,
            "min_chunk_tokens": self.min_chunk_tokens,
            "alignment": self.alignment,
            "preferred_multiples": self.preferred_multiples,
            "max_step_ms": self.max_step_ms,
        }

    def to_json(self) -> dict[str, Any]:
        """As results show it, under the options' names; None where a step has no limit."""
        return {
            "max_num_batched_tokens": self.max_chunk_tokens,
            "min_chunk": self.min_chunk_tokens,
            "block_size": self.alignment,
            "multiple_of": list(self.preferred_multiples),
            "max_step_ms": None if math.isinf(self.max_step_ms) else self.max_step_ms,
        }


def limits_of_options(
    max_num_batched_tokens: int,
    min_chunk: int,
    block_size: int,
    multiple_of: Sequence[int] | None,
    max_step_ms: float | None,
) -> PlanLimits:
    """The limits as the options give them.

    Raises:
        CommandError: no chunk can keep all of them.
    """
    within = f"at most --max-num-batched-tokens, {max_num_batched_tokens}"
    for name, tokens in (("--block-size", block_size), ("--min-chunk", min_chunk)):
        if tokens > max_num_batched_tokens:
            raise wrong_value(name, tokens, within)
    return PlanLimits(
        max_num_batched_tokens,
        min_chunk,
        block_size,
        tuple(multiple_of or ()),
        math.inf if max_step_ms is None else max_step_ms,
    )
