"""Where what is remembered between runs lives: one folder of the user's."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

CACHE_DIR_VARIABLE: Final = "CPP_CHUNK_CACHE_DIR"
_NAME = "cpp_chunk"


def cache_dir() -> Path:
    """The folder, whether it exists or not.

    `CPP_CHUNK_CACHE_DIR`, else `$XDG_CACHE_HOME/cpp_chunk`, else `~/.cache/cpp_chunk`.
    """
    if own := os.environ.get(CACHE_DIR_VARIABLE):
        return Path(own)
    users = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    if Path(users).is_absolute():
        return Path(users) / _NAME
    try:
        return Path.home() / ".cache" / _NAME
    except RuntimeError:
        # A container may run under a user id that nobody has made a home for.
        return Path(tempfile.gettempdir()) / f"{_NAME}-{os.geteuid()}"
