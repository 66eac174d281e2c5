"""Chunks of equal time for chunked prefill under pipeline parallelism.

The native core's public names. Importing this package imports nothing of vLLM.
"""

from importlib.metadata import version

from cpp_chunk._core import (
    AtomPolicy,
    Calibrator,
    ChunkPolicy,
    ChunkSolver,
    Distribution,
    Error,
    FitRefused,
    FitReport,
    FixedPolicy,
    InvalidArgument,
    LatencyModel,
    Plan,
    RequestTimes,
    SglangPolicy,
    SimulatedPipeline,
    SimulatedRequest,
    SimulatedStep,
    SimulationResult,
    StepFeatures,
    TerapipePolicy,
    VllmAscendPolicy,
    base_target_ms,
    best_target_ms,
    fit_latency_model,
    plan_chunks,
    simulate,
    terapipe_plan,
)

__version__ = version("cpp-chunk")

__all__ = [
    "AtomPolicy",
    "Calibrator",
    "ChunkPolicy",
    "ChunkSolver",
    "Distribution",
    "Error",
    "FitRefused",
    "FitReport",
    "FixedPolicy",
    "InvalidArgument",
    "LatencyModel",
    "Plan",
    "RequestTimes",
    "SglangPolicy",
    "SimulatedPipeline",
    "SimulatedRequest",
    "SimulatedStep",
    "SimulationResult",
    "StepFeatures",
    "TerapipePolicy",
    "VllmAscendPolicy",
    "__version__",
    "base_target_ms",
    "best_target_ms",
    "fit_latency_model",
    "plan_chunks",
    "simulate",
    "terapipe_plan",
]
