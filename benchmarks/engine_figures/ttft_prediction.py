"""How well a simulation with the engine's own models tells a prompt's time to first token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpp_chunk import ChunkPlanner, FixedPolicy, SimulatedPipeline, SimulatedRequest, simulate

if TYPE_CHECKING:
    from cpp_chunk import ChunkPolicy

    from benchmarks.engine.trace import ModelFit, ProfilePass
    from benchmarks.shared.figures import EngineKey

# vLLM's KV block on a CPU.
BLOCK_TOKENS = 128


def predicted_ttft_ms(
    engine: EngineKey, fit: ModelFit, passes: tuple[ProfilePass, ...], prompt_tokens: int
) -> float:
    """Simulates the prompt alone in an engine, whose scheduler and planner are the same code.

    Args:
        engine: mode and max_num_batched_tokens.
        fit: the models in force before the prompt came.
        passes: the engine's profile: its smallest chunk is the planner's floor.
        prompt_tokens: the prompt.
    """
    mode, budget_tokens = engine
    policy: ChunkPolicy
    if mode == "fixed":
        policy = FixedPolicy(budget_tokens)
    else:
        policy = ChunkPlanner(
            [stage.with_overhead(fit.gap_ms) for stage in fit.stages],
            max_chunk_tokens=budget_tokens,
            min_chunk_tokens=min(one.num_tokens for one in passes),
            alignment=BLOCK_TOKENS,
        )
    pipeline = SimulatedPipeline(
        fit.stages, max_num_batched_tokens=budget_tokens, gap_ms=fit.gap_ms
    )
    return simulate(pipeline, [SimulatedRequest(prompt_tokens)], policy).ttft_ms.mean
