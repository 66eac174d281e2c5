"""The environment of the engines that these tests start."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.engine.engine_process import cpu_engine_environment

REPOSITORY = Path(__file__).parents[2]


def engine_environment() -> dict[str, str]:
    """Two stages on the CPU; a KV cache of a fixed size, however much memory is free."""
    return {**os.environ, **cpu_engine_environment(2), "VLLM_CPU_KVCACHE_SPACE": "1"}


def script_environment(cache_dir: Path) -> dict[str, str]:
    """For a script of this folder: it finds its neighbours, and a cache folder of its own."""
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    return {
        **engine_environment(),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "CPP_CHUNK_CACHE_DIR": str(cache_dir),
    }
