"""What the engine core tells the front end: a small file that one writes and the other reads.

vLLM serves its metrics from the front end's process and drops what it does not know from the
engine core's reports, so our few figures go by this file. It belongs to one engine, lies in a
folder that its user alone may enter, and goes with the front end.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ValidationError

from cpp_chunk.records.private_file import read_private, replace_private

STATUS_FILE_VARIABLE = "CPP_CHUNK_STATUS_FILE"
# Some hundred times what there is to say.
_MAX_BYTES: Final = 1 << 17


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
    """Names a file to the processes that this one will start, in a folder made for it.

    In the temporary folder itself others could put something in its place, or in that of the
    unfinished file that replaces it: everybody knows their names.
    """
    folder = Path(tempfile.mkdtemp(prefix="cpp-chunk-"))
    path = folder / "status.json"
    os.environ[STATUS_FILE_VARIABLE] = str(path)
    owner = os.getpid()

    def remove() -> None:
        # A forked child inherits this call, but not the folder.
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return path


def write_status(status: EngineStatus) -> None:
    """Replaces the file at once, so that a reader sees a whole one.

    Raises:
        OSError: it cannot be written, for other reasons than that its folder went with the reader.
    """
    name = os.environ.get(STATUS_FILE_VARIABLE)
    if not name:
        return
    with contextlib.suppress(FileNotFoundError):
        replace_private(Path(name), status.model_dump_json().encode(), is_durable=False)


def read_status(path: Path) -> EngineStatus:
    """The engine core's figures; all zero before it has written any."""
    try:
        return EngineStatus.model_validate_json(read_private(path, _MAX_BYTES))
    except (OSError, ValidationError):
        return EngineStatus()
