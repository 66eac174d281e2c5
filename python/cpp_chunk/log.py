"""The package's logger: a child of vLLM's own, so that its handlers and level apply."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import MutableMapping


class _Tagged(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: str, kwargs: MutableMapping[str, Any]) -> tuple[str, Any]:
        return f"[cpp_chunk] {msg}", kwargs


def init_logger(name: str) -> logging.LoggerAdapter[logging.Logger]:
    """A logger whose lines carry the `[cpp_chunk]` tag.

    Args:
        name: the module's `__name__`.

    Returns:
        An adapter; use lazy `%` arguments with it as with any logger.
    """
    return _Tagged(logging.getLogger(f"vllm.{name}"), {})
