"""Numbers in words, alike on pages and in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDS_FROM_MS = 1e3
_EXPONENT_FROM_MS = 1e9


def chunk_list(chunks: Sequence[int], max_groups: int | None = None) -> str:
    """Chunk sizes, equal neighbours written once: `3 x 1024, 512`.

    Args:
        chunks: tokens of each chunk, in order.
        max_groups: of more groups of neighbours than this, those in the middle are only counted.
    """
    groups: list[tuple[int, int]] = []
    for tokens in chunks:
        if groups and groups[-1][1] == tokens:
            groups[-1] = (groups[-1][0] + 1, tokens)
        else:
            groups.append((1, tokens))
    words = [f"{count} x {t}" if count > 1 else f"{t}" for count, t in groups]
    if max_groups is not None and len(groups) > max_groups:
        front, back = max_groups - max_groups // 3, max_groups // 3
        folded = groups[front : len(groups) - back]
        num_folded = sum(count for count, _ in folded)
        low, high = min(t for _, t in folded), max(t for _, t in folded)
        words[front : len(words) - back] = [f"... {num_folded} of {low} to {high} ..."]
    return ", ".join(words)


def duration(duration_ms: float) -> str:
    """Milliseconds, or seconds from one second on."""
    if duration_ms >= _EXPONENT_FROM_MS:
        return f"{duration_ms / 1e3:.4g} s"
    if duration_ms >= _SECONDS_FROM_MS:
        return f"{duration_ms / 1e3:.2f} s"
    return f"{duration_ms:.1f} ms"


def percent(share: float, decimals: int = 0) -> str:
    """A share in percent, with a space as the rest of the page has it."""
    return f"{100 * share:.{decimals}f} %"


def grouped(number: int) -> str:
    """A whole number with its thousands apart."""
    return f"{number:,}"


def prompt_tokens_text(prompt_tokens: int, cached_tokens: int) -> str:
    """How many tokens prompts have, and how many of them need no computing."""
    cached = f", of which {grouped(cached_tokens)} cached" if cached_tokens else ""
    return f"{grouped(prompt_tokens)} prompt tokens{cached}"
