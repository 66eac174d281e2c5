"""Our plan for one prompt against published times, the optimum, fixed sizes and others' rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpp_chunk import (
    AtomPolicy,
    ChunkPlanner,
    ChunkPolicy,
    SglangPolicy,
    VllmAscendPolicy,
    plan_chunks,
    plan_fixed_chunks,
    terapipe_plan,
)

from benchmarks.planning.published import (
    KIMI,
    KIMI_FIXED_TTFT_MS,
    KIMI_PROMPT_TOKENS,
    KIMI_STAGES,
    KIMI_STEP,
)
from benchmarks.planning.row import (
    CAP_TOKENS,
    FIXED_SIZES_TOKENS,
    lone_ttft_ms,
    planning_row,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.shared.figures import Figure

MAX_PUBLISHED_ERROR = 0.01
MAX_ABOVE_OPTIMUM = 0.01
OPTIMUM_GRANULE_TOKENS = 128
MIN_GAIN_OVER_FIXED = {2: 0.04, 4: 0.07, 8: 0.09, 16: 0.11}
MAX_ABOVE_RULE = 0.005
# vLLM's default KV block.
BLOCK_TOKENS = 16
RULE_STAGES = range(2, 17)
RULE_PROMPTS_TOKENS = tuple(2**i for i in range(14, 21))
RULE_BASES_TOKENS = (2048, 4096, 8192, 16_384, 32_768)

# Others' rules by name: for a base, the policies of all settings tried.
RULES: dict[str, Callable[[int], list[ChunkPolicy]]] = {
    "SGLang": lambda base: [SglangPolicy(KIMI_STEP, base)],
    "vllm-ascend": lambda base: [
        VllmAscendPolicy(KIMI_STEP, base, min_chunk_tokens=floor) for floor in (4096, 128)
    ],
    "ATOM": lambda base: [
        AtomPolicy(KIMI_STEP, base, smooth_factor=smooth) for smooth in (0.75, 1.0)
    ],
}


def published_size_figures() -> list[Figure]:
    """The three fixed sizes whose times are published, as the flow shop reckons them."""
    return [
        planning_row(
            f"published TTFT of fixed {tokens}, S = {KIMI_STAGES}: error of the model",
            abs(fixed_makespan_ms(tokens) / published_ms - 1),
            MAX_PUBLISHED_ERROR,
            by_case={"model, ms": fixed_makespan_ms(tokens), "published, ms": published_ms},
        )
        for tokens, published_ms in KIMI_FIXED_TTFT_MS.items()
    ]


def fixed_makespan_ms(chunk_tokens: int) -> float:
    """The published set-up with a fixed chunk."""
    stages = [KIMI_STEP] * KIMI_STAGES
    return plan_fixed_chunks(stages, KIMI_PROMPT_TOKENS, chunk_tokens).makespan_ms


def optimum_figures() -> list[Figure]:
    """Our plan against the exact dynamic programme, for each number of stages."""
    return [optimum_figure(num_stages) for num_stages in MIN_GAIN_OVER_FIXED]


def optimum_figure(num_stages: int) -> Figure:
    """Our plan against TeraPipe's programme, both at multiples of the same granule."""
    stages = [KIMI_STEP] * num_stages
    best_ms = terapipe_plan(
        stages,
        KIMI_PROMPT_TOKENS,
        max_chunk_tokens=CAP_TOKENS,
        granule_tokens=OPTIMUM_GRANULE_TOKENS,
    ).makespan_ms
    ours_ms = plan_chunks(
        stages,
        KIMI_PROMPT_TOKENS,
        max_chunk_tokens=CAP_TOKENS,
        min_chunk_tokens=OPTIMUM_GRANULE_TOKENS,
        alignment=OPTIMUM_GRANULE_TOKENS,
    ).makespan_ms
    return planning_row(
        f"plan of 131072 tokens, S = {num_stages}: above the exact optimum",
        ours_ms / best_ms - 1,
        MAX_ABOVE_OPTIMUM,
        by_case={"plan, ms": ours_ms, "optimum, ms": best_ms},
    )


def fixed_size_figures() -> list[Figure]:
    """Our plan against the best fixed size without the engine's gap, for each number of stages."""
    return [
        fixed_size_figure(num_stages, limit) for num_stages, limit in MIN_GAIN_OVER_FIXED.items()
    ]


def fixed_size_figure(num_stages: int, limit: float) -> Figure:
    """How much sooner our plan is done than the best fixed size."""
    stages = [KIMI] * num_stages
    fixed_ms = {
        tokens: plan_fixed_chunks(stages, KIMI_PROMPT_TOKENS, tokens).makespan_ms
        for tokens in FIXED_SIZES_TOKENS
    }
    best_tokens = min(fixed_ms, key=fixed_ms.__getitem__)
    plans_ms = {
        alignment: plan_chunks(
            stages,
            KIMI_PROMPT_TOKENS,
            max_chunk_tokens=CAP_TOKENS,
            min_chunk_tokens=alignment,
            alignment=alignment,
        ).makespan_ms
        for alignment in (BLOCK_TOKENS, 128)
    }
    return planning_row(
        f"plan of 131072 tokens without the gap, S = {num_stages}: gain over the best fixed size",
        1 - plans_ms[BLOCK_TOKENS] / fixed_ms[best_tokens],
        limit,
        is_lower_bound=True,
        by_case={
            f"fixed {best_tokens}, ms": fixed_ms[best_tokens],
            **{f"plan, alignment {a}, ms": plan_ms for a, plan_ms in plans_ms.items()},
        },
    )


def rule_figures() -> list[Figure]:
    """Our policy against each rule at its best base, for all stages and prompts."""
    above: dict[str, dict[tuple[int, int], float]] = {name: {} for name in RULES}
    for num_stages in RULE_STAGES:
        stages = [KIMI_STEP] * num_stages
        for prompt_tokens in RULE_PROMPTS_TOKENS:
            ours_ms = lone_ttft_ms(
                stages,
                prompt_tokens,
                ChunkPlanner(
                    stages,
                    max_chunk_tokens=CAP_TOKENS,
                    min_chunk_tokens=BLOCK_TOKENS,
                    alignment=BLOCK_TOKENS,
                ),
            )
            for name, policies in RULES.items():
                best_ms = min(
                    lone_ttft_ms(stages, prompt_tokens, policy)
                    for base in RULE_BASES_TOKENS
                    for policy in policies(base)
                )
                above[name][num_stages, prompt_tokens] = ours_ms / best_ms - 1
    return [rule_figure(name, values) for name, values in above.items()]


def rule_figure(name: str, above: dict[tuple[int, int], float]) -> Figure:
    """The worst of a rule's ratios, and the worst for each number of stages."""
    return planning_row(
        f"TTFT above {name}'s rule at its best of 5 bases, worst of S 2 to 16, 16k to 1M tokens",
        max(above.values()),
        MAX_ABOVE_RULE,
        by_case={
            f"S = {num_stages}": max(v for (s, _), v in above.items() if s == num_stages)
            for num_stages in RULE_STAGES
        },
        notes=(
            "worst of all prompts; negative: ours is sooner. Bases 2k to 32k; vllm-ascend's also "
            "with a floor of 128 tokens beside its 4096, ATOM's with smoothing 0.75 and 1"
        ),
    )
