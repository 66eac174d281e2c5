"""The environment of the engines that these tests start."""

from __future__ import annotations

import os

from benchmarks.engine_process import cpu_engine_environment


def engine_environment() -> dict[str, str]:
    """Two stages on the CPU; a KV cache of a fixed size, however much memory is free."""
    return {**os.environ, **cpu_engine_environment(2), "VLLM_CPU_KVCACHE_SPACE": "1"}
