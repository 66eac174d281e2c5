"""What vLLM calls in every process: its general-plugin entry point.

Light on purpose: `load_general_plugins` runs in the front end, in the engine core and in each
worker, and swallows what an import raises.
"""

from __future__ import annotations

import logging


def register() -> None:
    """Puts the seams in that this process can reach. Safe to call any number of times."""
    from cpp_chunk import seams
    from cpp_chunk.log import init_logger

    logger = init_logger(__name__)
    for missing in seams.apply_loaded():
        # Who switches dynamic chunks on hears of it from the front end, where we reach that.
        is_heard = seams.FRONT_END.is_applied() or not seams.FRONT_END.is_loaded()
        logger.log(logging.DEBUG if is_heard else logging.WARNING, "%s", missing)
