"""Time of one solve: natively, by a small program, and through the binding."""

from __future__ import annotations

import statistics
import timeit
from typing import TYPE_CHECKING

from benchmarks.native.native_program import native_medians

if TYPE_CHECKING:
    from pathlib import Path

NUM_CALLS = 20_000
NUM_REPEATS = 11


def native_solve_us(build_dir: Path) -> float:
    """Microseconds a solve, as native_solve.cpp measures it."""
    return float(native_medians("native_solve", build_dir)["solve"]["real_time"]) / 1e3


def binding_solve_us() -> float:
    """Microseconds of one `chunk_tokens` call from Python, median of some repeats."""
    from cpp_chunk import ChunkSolver, LatencyModel

    model = LatencyModel(quadratic=5e-5, cross=5e-5, linear=0.05, context=0.002, constant=4.0)
    solver = ChunkSolver(model, max_chunk_tokens=8192, min_chunk_tokens=64, alignment=16)
    solver.begin_step(175.0)
    timer = timeit.Timer(lambda: solver.chunk_tokens(100_000, 16_384, 8192))
    repeats_s = timer.repeat(repeat=NUM_REPEATS, number=NUM_CALLS)
    return 1e6 * statistics.median(repeats_s) / NUM_CALLS
