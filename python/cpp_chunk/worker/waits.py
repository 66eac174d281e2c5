"""The waits that a stage's model runner may meet in a step, observed where they happen."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cpp_chunk.patching.places import LAZY_RECEIVE, TOKENS_V1, TOKENS_V2

if TYPE_CHECKING:
    from cpp_chunk.patching.seam import Function, Seam, Wrap

# Hears how long a wait took, in seconds.
Listener = Callable[[float], None]

# Whether a call on this instance is going to wait.
_WAITS: dict[Seam, Callable[[Any], bool]] = {
    LAZY_RECEIVE: lambda received: not vars(received).get("_comm_waited", False),
    TOKENS_V2: lambda _: True,
    TOKENS_V1: lambda runner: getattr(runner, "_pp_recv_work", None) is not None,
}


def observe(listener: Listener) -> None:
    """Patches this process, so that the listener hears of every wait. Once: later calls do nothing.

    Raises:
        SeamError: a class of the ledger is there without its method.
    """
    for seam, waits in _WAITS.items():
        if seam.is_loaded() and hasattr(sys.modules[seam.module], seam.cls):
            seam.apply(_observed(waits, listener))


def _observed(waits: Callable[[Any], bool], listener: Listener) -> Wrap:
    def wrap(original: Function) -> Function:
        def observed(self: Any, *args: Any, **kwargs: Any) -> Any:
            is_wait = waits(self)
            start_s = time.monotonic()
            result = original(self, *args, **kwargs)
            if is_wait:
                listener(time.monotonic() - start_s)
            return result

        return observed

    return wrap
