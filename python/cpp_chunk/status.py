"""What the engine core tells the front end: a small file that one writes and the other reads.

vLLM serves its metrics from the front end's process and drops what it does not know from the
engine core's reports, so our few figures go by this file. It belongs to one engine, is readable
by its user only, and goes with the front end.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import tempfile
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

STATUS_FILE_VARIABLE = "CPP_CHUNK_STATUS_FILE"


class EngineStatus(BaseModel):
    """Figures since the engine core started."""

    # By what failed, or was found wanting.
    fallbacks: dict[str, int] = {}
    measured_steps: int = 0
    # Steps of which no time could be attributed to what they held, by why not.
    skipped_steps: dict[str, int] = {}
    refits: int = 0
    drifts: int = 0
    # None while chunks are fixed.
    target_ms: float | None = None
    # Of the model on what it was fitted to.
    mean_relative_error: float | None = None
    # |predicted / measured - 1| of measured steps with prefill in them, by the model that was in
    # force when they were scheduled: sum and number of all, median of recent ones.
    prediction_error_sum: float = 0.0
    prediction_errors: int = 0
    median_error: float | None = None
    profile: Literal["measured", "remembered"] | None = None
    profile_passes: int = 0
    profile_s: float = 0.0

    def count_fallback(self, reason: str) -> None:
        """Counts one more."""
        self.fallbacks[reason] = self.fallbacks.get(reason, 0) + 1

    def count_skipped(self, reason: str, num_steps: int = 1) -> None:
        """Counts more steps."""
        if num_steps:
            self.skipped_steps[reason] = self.skipped_steps.get(reason, 0) + num_steps


def make_status_file() -> Path:
    """Makes an empty file and names it to the processes that this one will start."""
    descriptor, name = tempfile.mkstemp(prefix="cpp-chunk-", suffix=".json")
    os.close(descriptor)
    os.environ[STATUS_FILE_VARIABLE] = name
    owner = os.getpid()

    def remove() -> None:
        # A forked child inherits this call, but not the file.
        if os.getpid() == owner:
            Path(name).unlink(missing_ok=True)

    atexit.register(remove)
    return Path(name)


def write_status(status: EngineStatus) -> None:
    """Replaces the file at once, so that a reader sees a whole one. A full disk is no error."""
    name = os.environ.get(STATUS_FILE_VARIABLE)
    if not name:
        return
    with contextlib.suppress(OSError):
        # 0600 from the start: the name is not secret.
        unfinished = f"{name}.{os.getpid()}"
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(status.model_dump_json())
        Path(unfinished).replace(name)


def read_status(path: Path) -> EngineStatus:
    """The engine core's figures; all zero before it has written any."""
    try:
        return EngineStatus.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return EngineStatus()
