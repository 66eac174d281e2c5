"""Prompts of mixed lengths in a closed loop: our policy against every fixed size."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from cpp_chunk import (
    ChunkPlanner,
    FixedPolicy,
    SimulatedPipeline,
    SimulatedRequest,
    simulate,
)

from benchmarks.planning.published import KIMI_STEP
from benchmarks.planning.row import CAP_TOKENS, FIXED_SIZES_TOKENS, planning_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from cpp_chunk import ChunkPolicy, SimulationResult

    from benchmarks.shared.figures import Figure

CONCURRENCIES = (1, 2, 4, 8, 16, 48)
STAGES = (4, 8)
MIN_THROUGHPUT_SHARE = 0.99
MAX_TTFT_SHARE = 1.01
LARGE_CAP_TOKENS = 131_072
MAX_LARGE_CAP_SHARE = 1.03
# 60 ms to 2.6 s, a step of 15 % between them
HINDSIGHT_TARGETS_MS = tuple(60.0 * 1.15**i for i in range(28))
MAX_HINDSIGHT_SHARE = 1.05
ALIGNMENT = 128
SEED = 7

LENGTHS: dict[str, Callable[[random.Random], int]] = {
    "1k to 128k, powers of two": lambda rng: rng.choice(
        (1024, 4096, 8192, 16_384, 32_768, 65_536, 131_072)
    ),
    "1k to 128k, lognormal": lambda rng: max(1024, min(131_072, int(rng.lognormvariate(9.8, 1.0)))),
}


def mixed_load_figures() -> list[Figure]:
    """For each kind of lengths and number of stages: throughput, and time to first token."""
    loads = [(lengths, num_stages) for lengths in LENGTHS for num_stages in STAGES]
    return [row for load in loads for row in closed_loop_figures(*load)] + [
        figure(num_stages)
        for figure in (hindsight_figure, larger_cap_figure)
        for num_stages in STAGES
    ]


def hindsight_figure(num_stages: int) -> Figure:
    """Against equal step times of the length that turns out best for just that load."""

    def best_in_hindsight_ms(lengths: str, concurrency: int) -> float:
        return min(
            ttft_ms(lengths, num_stages, concurrency, target_ms=target_ms)
            for target_ms in HINDSIGHT_TARGETS_MS
        )

    return ttft_figure(
        f"mean TTFT over that of the one step time best in hindsight, S = {num_stages}",
        MAX_HINDSIGHT_SHARE,
        lambda lengths, concurrency: (
            ttft_ms(lengths, num_stages, concurrency) / best_in_hindsight_ms(lengths, concurrency)
        ),
    )


def larger_cap_figure(num_stages: int) -> Figure:
    """max_num_batched_tokens is no knob: our policy does not lose by room that it need not use."""
    return ttft_figure(
        f"mean TTFT at a cap of {LARGE_CAP_TOKENS} over that at {CAP_TOKENS}, S = {num_stages}",
        MAX_LARGE_CAP_SHARE,
        lambda lengths, concurrency: (
            ttft_ms(lengths, num_stages, concurrency, LARGE_CAP_TOKENS)
            / ttft_ms(lengths, num_stages, concurrency)
        ),
    )


def ttft_figure(figure: str, limit: float, share_of: Callable[[str, int], float]) -> Figure:
    """The worst share of a time to first token, of all lengths and concurrencies."""
    ttft_share = {
        f"{lengths}, concurrency {concurrency}": share_of(lengths, concurrency)
        for lengths in LENGTHS
        for concurrency in CONCURRENCIES
    }
    return planning_row(
        figure,
        max(ttft_share.values()),
        limit,
        by_case=ttft_share,
        notes="worst of both kinds of mixed lengths and all concurrencies",
    )


def ttft_ms(
    lengths: str,
    num_stages: int,
    concurrency: int,
    cap_tokens: int = CAP_TOKENS,
    target_ms: float | None = None,
) -> float:
    """Our policy's mean time to first token under one load."""
    policy = planner(num_stages, cap_tokens, target_ms)
    return closed_loop(lengths, num_stages, concurrency, cap_tokens, policy).ttft_ms.mean


def closed_loop_figures(lengths: str, num_stages: int) -> list[Figure]:
    """The worst of all concurrencies, against the fixed size that is best at just that one."""
    throughput_share = {}
    ttft_share = {}
    for concurrency in CONCURRENCIES:
        fixed = [
            closed_loop(lengths, num_stages, concurrency, tokens, FixedPolicy(tokens))
            for tokens in FIXED_SIZES_TOKENS
        ]
        ours = closed_loop(lengths, num_stages, concurrency, CAP_TOKENS, planner(num_stages))
        case = f"concurrency {concurrency}"
        throughput_share[case] = ours.prompt_tokens_per_s / max(
            result.prompt_tokens_per_s for result in fixed
        )
        ttft_share[case] = ours.ttft_ms.mean / min(result.ttft_ms.mean for result in fixed)
    name = f"{lengths}, closed loop of 1 to 48, S = {num_stages}"
    notes = "8 requests for each place, 48 at least, with one output token"
    return [
        planning_row(
            f"tokens/s over the best fixed size's: {name}",
            min(throughput_share.values()),
            MIN_THROUGHPUT_SHARE,
            is_lower_bound=True,
            by_case=throughput_share,
            notes=notes,
        ),
        planning_row(
            f"mean TTFT over that of the fixed size best in it: {name}",
            max(ttft_share.values()),
            MAX_TTFT_SHARE,
            by_case=ttft_share,
            notes=notes,
        ),
    ]


def num_requests(concurrency: int) -> int:
    """Enough for each place to be filled some times."""
    return max(48, 8 * concurrency)


def planner(
    num_stages: int, max_chunk_tokens: int = CAP_TOKENS, target_ms: float | None = None
) -> ChunkPlanner:
    """Our policy; with a step time given, that time whatever waits."""
    return ChunkPlanner(
        [KIMI_STEP] * num_stages,
        max_chunk_tokens=max_chunk_tokens,
        min_chunk_tokens=ALIGNMENT,
        alignment=ALIGNMENT,
        target_ms=target_ms,
    )


def closed_loop(
    lengths: str,
    num_stages: int,
    concurrency: int,
    max_num_batched_tokens: int,
    policy: ChunkPolicy,
) -> SimulationResult:
    """The same requests for every policy."""
    rng = random.Random(SEED)  # noqa: S311
    requests = [SimulatedRequest(LENGTHS[lengths](rng)) for _ in range(num_requests(concurrency))]
    pipeline = SimulatedPipeline(
        [KIMI_STEP] * num_stages,
        max_num_batched_tokens=max_num_batched_tokens,
        max_concurrency=concurrency,
    )
    return simulate(pipeline, requests, policy)
