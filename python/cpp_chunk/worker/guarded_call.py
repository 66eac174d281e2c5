"""How functions of ours run in a worker: whatever happens there, the worker answers.

When a worker answers a call with an error, vLLM's multiprocess executor leaves the answers of the
workers behind it in their queues, and every later step would be given the answer of the call
before. So nothing that we send to a worker raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cpp_chunk.log import init_logger

if TYPE_CHECKING:
    from collections.abc import Callable

logger = init_logger(__name__)


@dataclass(frozen=True)
class Failed:
    """What a worker says in place of an answer."""

    rank: int
    error: str


def call(worker: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the function returns for this worker, or Failed. Runs in the worker."""
    try:
        return function(worker, *args, **kwargs)
    except Exception as error:
        logger.debug("%s failed", function.__qualname__, exc_info=True)
        return Failed(getattr(worker, "rank", -1), f"{function.__qualname__}: {error!r}")
