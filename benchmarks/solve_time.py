"""Time of one solve: natively, by a small program compiled here, and through the binding."""

from __future__ import annotations

import os
import statistics
import subprocess
import timeit
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NUM_CALLS = 20_000
NUM_REPEATS = 11


def native_solve_us(build_dir: Path) -> float:
    """Compile native_solve.cpp with the core's sources and run it: microseconds a solve."""
    build_dir.mkdir(parents=True, exist_ok=True)
    program = build_dir / "native_solve"
    core = sorted(str(path) for path in (ROOT / "csrc" / "cpp_chunk").glob("*.cpp"))
    subprocess.run(  # noqa: S603
        [
            os.environ.get("CXX", "c++"),
            *("-std=c++20", "-O3", "-DNDEBUG", "-flto"),
            *(f"-I{path}" for path in (ROOT / "csrc", *eigen_include_dirs())),
            str(ROOT / "benchmarks" / "native_solve.cpp"),
            *core,
            *("-o", str(program)),
        ],
        check=True,
    )
    run = subprocess.run([program], check=True, capture_output=True, text=True)  # noqa: S603
    output = run.stdout
    return float(output.split()[0]) / 1e3


def eigen_include_dirs() -> list[Path]:
    """Where Eigen may be: the cmeel-eigen wheel, or the system."""
    import cmeel  # type: ignore[import-untyped]

    prefix = Path(cmeel.__file__).resolve().parent.parent / "cmeel.prefix"
    return [
        path
        for path in (prefix / "include" / "eigen3", Path("/usr/include/eigen3"))
        if path.is_dir()
    ]


def binding_solve_us() -> float:
    """Microseconds of one `chunk_tokens` call from Python, median of some repeats."""
    from cpp_chunk import ChunkSolver, LatencyModel

    model = LatencyModel(quadratic=5e-5, cross=5e-5, linear=0.05, context=0.002, constant=4.0)
    solver = ChunkSolver(model, max_chunk_tokens=8192, min_chunk_tokens=64, alignment=16)
    solver.begin_step(175.0)
    timer = timeit.Timer(lambda: solver.chunk_tokens(100_000, 16_384, 8192))
    repeats_s = timer.repeat(repeat=NUM_REPEATS, number=NUM_CALLS)
    return 1e6 * statistics.median(repeats_s) / NUM_CALLS
