"""The engine core's record of passes, models and steps, as JSON lines, if the user asks for it.

`CPP_CHUNK_TRACE_FILE` names the file. Written when step times come in, never inside a step.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cpp_chunk._core import FitReport

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

    def write_model(self, source: str, report: FitReport, gap_ms: float) -> None:
        """Adds the line of a model that planning uses from now on."""
        model = report.model
        self.write(
            "model",
            source=source,
            coefficients={
                "quadratic": model.quadratic,
                "cross": model.cross,
                "linear": model.linear,
                "context": model.context,
                "constant": model.constant,
            },
            gap_ms=gap_ms,
            num_points=report.num_points,
            mean_relative_error=report.mean_relative_error,
            p95_relative_error=report.p95_relative_error,
            condition_number=report.condition_number,
        )

    def flush(self) -> None:
        """Appends what was added to the file."""
        if self._path is not None and self._lines:
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(self._lines)
            self._lines.clear()
