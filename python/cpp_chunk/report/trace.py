"""The engine core's record of passes, models and steps, as JSON lines, if the user asks for it.

`CPP_CHUNK_TRACE_FILE` names the file. Written in a thread of its own: whatever becomes of its
disk, the trace may end there, and nothing else does.
"""

from __future__ import annotations

import collections
import functools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cpp_chunk.log import init_logger
from cpp_chunk.records.file_thread import FileThread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpp_chunk._core import FitReport, LatencyModel

TRACE_FILE_VARIABLE = "CPP_CHUNK_TRACE_FILE"

logger = init_logger(__name__)

# A minute or more of steps, of some 300 bytes each, or 10 kB with hundreds of requests.
_MAX_WAITING_LINES: Final = 1 << 12


class Trace:
    """Appends events to the file that the environment names; without one, does nothing.

    Where the file cannot be written, or not soon enough, one warning says so and the trace ends.
    """

    def __init__(self) -> None:
        name = os.environ.get(TRACE_FILE_VARIABLE)
        self._path = Path(name) if name else None
        self._thread = FileThread("the trace")
        # Its ends are safe to use from two threads.
        self._lines: collections.deque[str] = collections.deque()

    @property
    def is_wanted(self) -> bool:
        """Whether anybody reads: where not, a caller need not gather what is not written."""
        return self._path is not None and not self._thread.has_failed

    def write(self, event: str, **fields: Any) -> None:
        """Adds one line; durations in milliseconds, clock readings in seconds."""
        if not self.is_wanted:
            return
        if len(self._lines) >= _MAX_WAITING_LINES:
            self._path = None
            logger.warning("the trace ends: %d lines wait for its disk", len(self._lines))
            return
        self._lines.append(json.dumps({"event": event, **fields}) + "\n")

    def write_models(
        self, source: str, models: Sequence[LatencyModel], worst: FitReport, gap_ms: float
    ) -> None:
        """Adds the line of the models that planning uses from now on, one a stage.

        Args:
            source: where they come from.
            models: each stage's.
            worst: the fit of them with the largest error.
            gap_ms: a step's cost beyond its compute.
        """
        self.write(
            "model",
            source=source,
            stages=[
                {
                    "quadratic": model.quadratic,
                    "cross": model.cross,
                    "linear": model.linear,
                    "context": model.context,
                    "constant": model.constant,
                }
                for model in models
            ],
            gap_ms=gap_ms,
            num_points=worst.num_points,
            mean_relative_error=worst.mean_relative_error,
            p95_relative_error=worst.p95_relative_error,
            condition_number=worst.condition_number,
        )

    def flush(self) -> None:
        """Has what was added appended to the file; does not wait for it."""
        if self._lines and self._path is not None:
            self._thread.write(functools.partial(self._append, self._path))

    def wait(self, timeout_s: float) -> bool:
        """Waits for the file to have what was flushed; False where that takes longer."""
        return self._thread.wait(timeout_s)

    def _append(self, path: Path) -> None:
        if self._thread.has_failed:
            # What failed may have left half a line.
            return
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        with path.open("a", encoding="utf-8") as file:
            file.writelines(lines)
