"""The small native programs that time the core: built once with CMake, then run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


# Of each benchmark: its median is what counts.
NUM_REPETITIONS = 7


def native_medians(name: str, build_dir: Path) -> dict[str, dict[str, Any]]:
    """Build NAME.cpp of this folder with the core, where it has changed, and run it.

    Returns:
        By benchmark, google/benchmark's own fields of the median: `real_time` in its `time_unit`,
        and its counters.

    Raises:
        CalledProcessError: the build or the program failed; the build says why on stderr.
    """
    # The virtual environment's cmake and ninja, where it has them.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    folder = build_dir / "native"
    configure = (
        *("cmake", "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", "--log-level=NOTICE"),
        *("-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_INTERPROCEDURAL_OPTIMIZATION=ON"),
        *("-DCPP_CHUNK_BUILD_BENCHMARKS=ON", f"-DPython_EXECUTABLE={sys.executable}"),
    )
    for command in (configure, ("cmake", "--build", str(folder), "--target", name)):
        subprocess.run(  # noqa: S603
            command, check=True, stdout=subprocess.PIPE, env=os.environ | {"PATH": path}
        )
    run = (
        str(folder / "benchmarks" / "native" / name),
        "--benchmark_format=json",
        "--benchmark_min_time=0.05",
        f"--benchmark_repetitions={NUM_REPETITIONS}",
        "--benchmark_report_aggregates_only=true",
    )
    output = subprocess.run(run, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # noqa: S603
    return {
        one["run_name"].split("/")[0]: one
        for one in json.loads(output.stdout)["benchmarks"]
        if one["aggregate_name"] == "median"
    }
