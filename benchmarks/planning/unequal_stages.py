"""Our plan on unequal stages against the best one whose steps take equal time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpp_chunk import ChunkPlanner, ChunkPolicy, plan_chunks

from benchmarks.planning.published import KIMI_PROMPT_TOKENS, KIMI_STEP
from benchmarks.planning.row import CAP_TOKENS, lone_ttft_ms, planning_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpp_chunk import LatencyModel

    from benchmarks.shared.figures import Figure

ALIGNMENT = 128
# Stages, how much longer the slow one takes, and what must be gained where it is the last.
CASES = ((4, 1.20, 0.04), (8, 1.15, 0.03))
# Step times tried for the best plan of equal times: from the shortest that makes sense to the cap.
SHORTEST_TARGET_MS = 100.0
TARGET_RATIO = 1.005
NUM_TARGETS = 600


class ListedChunks(ChunkPolicy):
    """Serves the chunks of a list, for one prompt."""

    def __init__(self, chunks: Sequence[int]) -> None:
        super().__init__()
        self._chunks = list(chunks)
        self._next = 0

    def set_backlog(self, prompts: Sequence[tuple[int, int]], num_under_way: int) -> None:
        """The list is made already."""

    def begin_step(self) -> None:
        """Each step takes the next of the list."""

    def chunk_tokens(self, remaining_tokens: int, num_computed_tokens: int, max_tokens: int) -> int:
        """The next of the list."""
        return min(self._chunks[self._next], remaining_tokens, max_tokens)

    def add_chunk(self, num_tokens: int, num_computed_tokens: int) -> None:
        """On to the one after."""
        self._next += 1


def unequal_stage_figures() -> list[Figure]:
    """The slow stage last; where it is elsewhere stands in the details."""
    return [unequal_stage_figure(*case) for case in CASES]


def unequal_stage_figure(num_stages: int, slowness: float, limit: float) -> Figure:
    """How much sooner ours is done than the best plan of equal times."""
    by_case = {}
    for name, slow_stage in (("first", 0), ("middle", num_stages // 2), ("last", num_stages - 1)):
        stages = [KIMI_STEP] * num_stages
        stages[slow_stage] = KIMI_STEP.scaled(slowness)
        ours_ms = lone_ttft_ms(stages, KIMI_PROMPT_TOKENS, planner(stages))
        by_case[f"slow stage {name}"] = 1 - ours_ms / best_equal_ms(stages)
    return planning_row(
        f"plan of 131072 tokens, S = {num_stages}, last stage {slowness - 1:+.0%}: gain over the "
        "best equal times",
        by_case["slow stage last"],
        limit,
        is_lower_bound=True,
        by_case=by_case,
    )


def planner(stages: Sequence[LatencyModel], target_ms: float | None = None) -> ChunkPlanner:
    """Our policy, or one whose steps all aim at the same time."""
    return ChunkPlanner(
        stages,
        max_chunk_tokens=CAP_TOKENS,
        min_chunk_tokens=ALIGNMENT,
        alignment=ALIGNMENT,
        target_ms=target_ms,
    )


def best_equal_ms(stages: Sequence[LatencyModel]) -> float:
    """The best of two kinds: any one target on these stages, and the plan for equal slow stages."""
    scanned_ms = min(
        lone_ttft_ms(
            stages, KIMI_PROMPT_TOKENS, planner(stages, SHORTEST_TARGET_MS * TARGET_RATIO**i)
        )
        for i in range(NUM_TARGETS)
    )
    slowest = max(stages, key=lambda stage: stage.linear)
    chunks = plan_chunks(
        [slowest] * len(stages),
        KIMI_PROMPT_TOKENS,
        max_chunk_tokens=CAP_TOKENS,
        min_chunk_tokens=ALIGNMENT,
        alignment=ALIGNMENT,
    ).chunks
    return min(scanned_ms, lone_ttft_ms(stages, KIMI_PROMPT_TOKENS, ListedChunks(chunks)))
