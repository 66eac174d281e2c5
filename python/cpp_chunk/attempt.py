"""What is done while something fails already: it must not fail in its turn, whatever it calls."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from cpp_chunk.log import init_logger

if TYPE_CHECKING:
    from collections.abc import Callable

logger = init_logger(__name__)


def attempt(call: Callable[..., object], /, *args: object, **kwargs: object) -> None:
    """Calls it with these arguments; of what it raises, a line is left in the debug log."""
    try:
        call(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - the caller has nobody left to tell
        # Logging calls handlers of the user's.
        with contextlib.suppress(Exception):
            logger.debug("%s failed (%s)", call, in_words(error))


def in_words(error: BaseException) -> str:
    """An exception as `repr` shows it, or its type alone where showing it raises."""
    try:
        return repr(error)
    except Exception:  # noqa: BLE001 - the exception's own code
        return type(error).__name__
