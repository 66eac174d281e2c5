"""The environment of the engines that these tests start."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from benchmarks.engine.engine_process import cpu_engine_environment

REPOSITORY = Path(__file__).parents[2]
PROCESS_START = Path(__file__).parent / "process_start"


def engine_environment() -> dict[str, str]:
    """Two stages on the CPU; a KV cache of a fixed size, however much memory is free."""
    return {**os.environ, **cpu_engine_environment(2), "VLLM_CPU_KVCACHE_SPACE": "1"}


def script_environment(cache_dir: Path) -> dict[str, str]:
    """For a script of this folder: it finds its neighbours, and a cache folder of its own.

    Its workers are forked: a third of an engine's start is vLLM's import in each of them.
    """
    paths = [str(PROCESS_START), str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    return {
        **engine_environment(),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        # What vLLM gives to the workers that it spawns: each keeps its threads on its own core.
        "LD_PRELOAD": os.pathsep.join(openmp_libraries()),
        "CPP_CHUNK_CACHE_DIR": str(cache_dir),
    }


def openmp_libraries() -> list[str]:
    torch = find_spec("torch")
    if torch is None or torch.origin is None:
        return []
    return sorted(str(path) for path in (Path(torch.origin).parent / "lib").glob("libgomp*.so*"))
