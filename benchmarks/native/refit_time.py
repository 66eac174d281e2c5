"""Time of one refit while serving: 16 passes of a profile and 128 recent steps, natively."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.native.native_program import native_medians

if TYPE_CHECKING:
    from pathlib import Path


def native_refit_us(build_dir: Path) -> float:
    """Microseconds a refit, as native_refit.cpp measures it."""
    return float(native_medians("native_refit", build_dir)["refit"]["real_time"])
