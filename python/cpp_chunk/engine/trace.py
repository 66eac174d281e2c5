"""The engine core's record of passes, models and steps, as JSON lines, if the user asks for it.

`CPP_CHUNK_TRACE_FILE` names the file. Written when step times come in, never inside a step.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cpp_chunk.engine.stage_fits import StageFits

TRACE_FILE_VARIABLE = "CPP_CHUNK_TRACE_FILE"


class Trace:
    """Appends events to the file that the environment names; without one, does nothing."""

    def __init__(self) -> None:
        name = os.environ.get(TRACE_FILE_VARIABLE)
        self._path = Path(name) if name else None
        self._lines: list[str] = []

    @property
    def is_wanted(self) -> bool:
        """Whether anybody reads: then a caller need not gather what is not written."""
        return self._path is not None

    def write(self, event: str, **fields: Any) -> None:
        """Adds one line; durations in milliseconds, clock readings in seconds."""
        if self._path is not None:
            self._lines.append(json.dumps({"event": event, **fields}) + "\n")

    def write_models(self, source: str, fits: StageFits, gap_ms: float) -> None:
        """Adds the line of the models that planning uses from now on, one a stage."""
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
                for model in fits.models
            ],
            gap_ms=gap_ms,
            num_points=fits.worst.num_points,
            mean_relative_error=fits.worst.mean_relative_error,
            p95_relative_error=fits.worst.p95_relative_error,
            condition_number=fits.worst.condition_number,
        )

    def flush(self) -> None:
        """Appends what was added to the file."""
        if self._path is not None and self._lines:
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(self._lines)
            self._lines.clear()
