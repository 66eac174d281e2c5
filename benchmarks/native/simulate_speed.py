"""Speed of the simulator, natively: steps a second for each policy and workload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.native.native_program import native_medians

if TYPE_CHECKING:
    from pathlib import Path


def native_steps_per_s(build_dir: Path) -> dict[str, float]:
    """Steps a second on one core, by the name that native_simulate.cpp gives it."""
    medians = native_medians("native_simulate", build_dir)
    return {name: median["steps"] for name, median in medians.items()}
