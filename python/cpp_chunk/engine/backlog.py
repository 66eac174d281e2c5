"""The backlog: what waits and what is under way, as vLLM's queues have it now."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cpp_chunk._core import MAX_TOLD_PROMPTS
from cpp_chunk.engine.book import DECODE_REMAINING_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vllm.v1.request import Request

    from cpp_chunk.engine.prefix_hits import PrefixHits

# The queues of what waits, in the order in which vLLM admits from them; not every release has all.
WAITING_QUEUES = ("kv_holding_waiting", "skipped_waiting", "waiting")


@dataclass(slots=True)
class Backlog:
    """Prompts and decodes of one moment.

    Attributes:
        prompts: (remaining, num_computed_tokens) of each, those under way first, then those that
            wait, with the prefix hits that they will have; of long queues the first ones.
        num_under_way: how many of them have chunks in earlier steps.
        num_decodes: requests past their prefill.
        decode_context_tokens: the sum of their histories.
    """

    prompts: list[tuple[int, int]]
    num_under_way: int
    num_decodes: int
    decode_context_tokens: int


def read_backlog(scheduler: Any, hits: PrefixHits) -> Backlog:
    """What vLLM's queues hold."""
    prompts: list[tuple[int, int]] = []
    num_decodes = decode_context_tokens = 0
    for request in scheduler.running:
        start = request.num_computed_tokens
        remaining = request.num_tokens - start
        if remaining > DECODE_REMAINING_TOKENS:
            prompts.append((remaining, start))
        else:
            num_decodes += 1
            decode_context_tokens += start
    del prompts[MAX_TOLD_PROMPTS:]
    num_under_way = len(prompts)
    waiting = itertools.islice(_waiting(scheduler), MAX_TOLD_PROMPTS - num_under_way)
    for request, start in hits.of(waiting):
        remaining = request.num_tokens - start
        if remaining > 0:
            prompts.append((remaining, start))
    return Backlog(prompts, num_under_way, num_decodes, decode_context_tokens)


def _waiting(scheduler: Any) -> Iterator[Request]:
    return itertools.chain.from_iterable(getattr(scheduler, queue, ()) for queue in WAITING_QUEUES)
