"""Chunks of equal time for chunked prefill under pipeline parallelism.

The native core's public names. Importing this package imports nothing of vLLM.
"""

from importlib.metadata import version

from cpp_chunk._core import (
    Calibrator,
    ChunkSolver,
    Error,
    FitRefused,
    FitReport,
    InvalidArgument,
    LatencyModel,
    Plan,
    base_target_ms,
    best_target_ms,
    fit_latency_model,
    plan_chunks,
)

__version__ = version("cpp-chunk")

__all__ = [
    "Calibrator",
    "ChunkSolver",
    "Error",
    "FitRefused",
    "FitReport",
    "InvalidArgument",
    "LatencyModel",
    "Plan",
    "__version__",
    "base_target_ms",
    "best_target_ms",
    "fit_latency_model",
    "plan_chunks",
]
