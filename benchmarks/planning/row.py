"""One row of the planning figures, and the pipelines and requests that several of them share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cpp_chunk import SimulatedPipeline, SimulatedRequest, simulate

from benchmarks.shared.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cpp_chunk import ChunkPolicy, LatencyModel

COMMAND = "make figures"
# max_num_batched_tokens of all dynamic policies, and the cap of every chunk.
CAP_TOKENS = 32_768
# Powers of two and their midpoints.
FIXED_SIZES_TOKENS = tuple(
    sorted([1024 * 2**i for i in range(6)] + [1536 * 2**i for i in range(5)])
)


def planning_row(
    name: str,
    value: float,
    limit: float,
    *,
    is_lower_bound: bool = False,
    by_case: Mapping[str, float] | None = None,
    notes: str = "",
) -> Figure:
    """A row that the performance page shows among the planning figures.

    by_case: the values that the row's is the worst of, or that stand behind it; notes: what they
    are and what was assumed.
    """
    details: dict[str, Any] = {"part": "planning", "by_case": dict(by_case or {}), "notes": notes}
    return Figure(name, value, limit, COMMAND, is_lower_bound=is_lower_bound, details=details)


def lone_ttft_ms(stages: Sequence[LatencyModel], prompt_tokens: int, policy: ChunkPolicy) -> float:
    """Time to first token of one prompt in an otherwise idle simulated pipeline."""
    pipeline = SimulatedPipeline(stages, max_num_batched_tokens=CAP_TOKENS)
    return simulate(pipeline, [SimulatedRequest(prompt_tokens)], policy).ttft_ms.mean
