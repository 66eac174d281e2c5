"""The fixed chunk sizes that a user could have set instead."""

from __future__ import annotations

# With a small model on a CPU the best fixed size lies below 1024, and a baseline must not be weaker
# than what a user can set.
_SMALLEST_FIXED_TOKENS = 256


def fixed_sizes_tokens(max_chunk_tokens: int) -> list[int]:
    """The fixed sizes that are compared with: powers of two, midpoints of two, and the cap."""
    sizes = []
    power = _SMALLEST_FIXED_TOKENS
    while power < max_chunk_tokens:
        sizes += [size for size in (power, power + power // 2) if size < max_chunk_tokens]
        power *= 2
    return [*sizes, max_chunk_tokens]
