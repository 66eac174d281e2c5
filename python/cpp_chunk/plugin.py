"""What vLLM calls in every process: its general-plugin entry point.

Light on purpose: `load_general_plugins` runs in the front end, in the engine core and in each
worker, and swallows what an import raises.
"""

from __future__ import annotations


def register() -> None:
    """Puts the seams in that this process can reach. Safe to call any number of times."""
    from cpp_chunk import seams

    seams.apply_loaded()
