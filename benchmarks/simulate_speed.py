"""Speed of the simulator, natively, by a small program compiled here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.solve_time import ROOT, eigen_include_dirs


def native_steps_per_s(build_dir: Path) -> dict[str, float]:
    """Compile native_simulate.cpp with the core's sources and run it.

    Returns steps a second for each policy and workload, by the name the program prints.
    """
    build_dir.mkdir(parents=True, exist_ok=True)
    program = build_dir / "native_simulate"
    core = sorted(str(path) for path in (ROOT / "csrc" / "cpp_chunk").rglob("*.cpp"))
    subprocess.run(  # noqa: S603
        [
            os.environ.get("CXX", "c++"),
            *("-std=c++20", "-O3", "-DNDEBUG", "-flto=auto"),
            *(f"-I{path}" for path in (ROOT / "csrc", *eigen_include_dirs())),
            str(ROOT / "benchmarks" / "native_simulate.cpp"),
            *core,
            *("-o", str(program)),
        ],
        check=True,
    )
    run = subprocess.run([program], check=True, capture_output=True, text=True)  # noqa: S603
    return {name: float(value) for name, value in map(str.split, run.stdout.splitlines())}


if __name__ == "__main__":
    for name, steps_per_s in native_steps_per_s(Path(sys.argv[1])).items():
        print(f"{name} {steps_per_s:.0f}")
