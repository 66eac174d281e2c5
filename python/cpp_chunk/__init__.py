"""Chunks of equal time for chunked prefill under pipeline parallelism.

The native core's public names. Importing this package imports nothing of vLLM.
"""

from importlib.metadata import version

from cpp_chunk._core import (
    Calibrator,
    ChunkPlanner,
    ChunkSolver,
    Error,
    FitRefused,
    FitReport,
    InvalidArgument,
    LatencyModel,
    LayerSplit,
    Plan,
    base_target_ms,
    best_layer_split,
    best_target_ms,
    default_layer_split,
    fit_latency_model,
    makespan_bound_ms,
    plan_chunks,
    plan_fixed_chunks,
)

__version__ = version("cpp-chunk")

__all__ = [
    "Calibrator",
    "ChunkPlanner",
    "ChunkSolver",
    "Error",
    "FitRefused",
    "FitReport",
    "InvalidArgument",
    "LatencyModel",
    "LayerSplit",
    "Plan",
    "__version__",
    "base_target_ms",
    "best_layer_split",
    "best_target_ms",
    "default_layer_split",
    "fit_latency_model",
    "makespan_bound_ms",
    "plan_chunks",
    "plan_fixed_chunks",
]
