"""What vLLM calls in every process: its general-plugin entry point.

vLLM logs what loading an entry point raises, and goes on without it; what a call raises ends the
process. So all imports are at the top.
"""

from __future__ import annotations

import logging

from cpp_chunk.assembly import patches
from cpp_chunk.log import init_logger
from cpp_chunk.patching.places import FRONT_END

logger = init_logger(__name__)


def register() -> None:
    """Puts the patches in that this process can reach. Safe to call any number of times."""
    for missing in patches.apply_loaded():
        # Who switches dynamic chunks on hears of it from the front end, where we reach that.
        is_heard = FRONT_END.is_applied() or not FRONT_END.is_loaded()
        logger.log(logging.DEBUG if is_heard else logging.WARNING, "%s", missing)
