"""Prefix hits that waiting prompts will have: the prefix cache asked, and left as it is.

vLLM looks a prompt up only when it admits it. Until then its cached part would count as work, and
a backlog of prompts that share a long prefix as hundreds of times what it is.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vllm.v1.request import Request

# The first in the queue are asked for again each time: those before them may have computed what
# they share. A look-up takes some 10 us.
_ASKED_AGAIN = 8


class PrefixHits:
    """Remembers of each prompt that waits what the cache holds of it.

    Args:
        scheduler: vLLM's; only its KV cache manager is looked at.
    """

    def __init__(self, scheduler: Any) -> None:
        self._manager = scheduler.kv_cache_manager
        self._cached_block_tokens = self._block_tokens(scheduler)
        self._known: dict[str, int] = {}
        # The request that vLLM has looked up itself, last.
        self._found: tuple[str, int] | None = None

    def _block_tokens(self, scheduler: Any) -> int:
        """Tokens of a cached block; 0 where nobody can be asked for one."""
        groups = scheduler.kv_cache_config.kv_cache_groups
        if not self._manager.enable_caching or not groups:
            return 0
        tokens: int = self._manager.block_pool.hash_block_size
        # A group with longer blocks has hashes of its own, which only its manager can make.
        return tokens if groups[0].kv_cache_spec.block_size == tokens else 0

    def of(self, waiting: Iterable[Request]) -> Iterator[tuple[Request, int]]:
        """Each prompt, with the tokens of it that need not be computed.

        Args:
            waiting: in the order of the queue.
        """
        known, self._known = self._known, {}
        found_id, found_tokens = self._found or ("", 0)
        for place, request in enumerate(waiting):
            request_id = request.request_id
            tokens = request.num_computed_tokens
            if not tokens and request_id == found_id:
                tokens = found_tokens
            elif not tokens:
                tokens = known.get(request_id, -1)
                if tokens < 0 or place < _ASKED_AGAIN:
                    tokens = self._ask(request)
            self._known[request_id] = tokens
            yield request, tokens

    def learn(self, request: Request, num_tokens: int) -> bool:
        """Takes what vLLM itself has found at admission, KV loaded from elsewhere included.

        Returns:
            Whether it is something else than what was known.
        """
        is_news = self._known.get(request.request_id) != num_tokens
        self._found = (request.request_id, num_tokens)
        return is_news

    def _ask(self, request: Request) -> int:
        block_tokens = self._cached_block_tokens
        if not block_tokens or request.skip_reading_prefix_cache:
            return 0
        get_cached_block = self._manager.block_pool.get_cached_block
        # Blocks are evicted from the end of a prompt: those that are there are its first ones.
        num_blocks = bisect.bisect_left(
            request.block_hashes, 1, key=lambda block: int(get_cached_block(block, [0]) is None)
        )
        # The last token is always computed.
        most_tokens: int = (request.num_tokens - 1) // block_tokens * block_tokens
        return min(num_blocks * block_tokens, most_tokens)
