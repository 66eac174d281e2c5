"""The small native programs that time the core: built once with CMake, then run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def native_output(name: str, build_dir: Path) -> str:
    """Build NAME.cpp of this folder with the core, where it has changed, and run it: its output.

    Raises CalledProcessError when the build or the program fails; the build says why on stderr.
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
    program = folder / "benchmarks" / "native" / name
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout  # noqa: S603
