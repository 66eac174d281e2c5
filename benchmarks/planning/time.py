"""How long planning takes: a whole plan, one step's decision, a simulated step."""

from __future__ import annotations

import itertools
import statistics
import time
import timeit
from typing import TYPE_CHECKING

from cpp_chunk import ChunkPlanner, plan_chunks

from benchmarks.native.native_program import native_medians
from benchmarks.native.simulate_speed import native_steps_per_s
from benchmarks.planning.published import KIMI_STEP
from benchmarks.planning.row import CAP_TOKENS, planning_row

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.shared.figures import Figure

MAX_PLAN_MS = 1.0
MAX_DECISION_US = 20.0
MIN_STEPS_PER_S = 1e6
PLAN_TOKENS = 1_000_000
PLAN_STAGES = 16
NUM_PLANS = 51
NUM_DECODES = 255
DECODE_CONTEXT_TOKENS = 4000
NUM_DECISIONS = 2000
NUM_REPEATS = 11


def plan_time_figure() -> Figure:
    """A plan of a million tokens through the binding, median of some."""
    times_ms = []
    for _ in range(NUM_PLANS):
        start_s = time.perf_counter()
        plan = plan_chunks(
            [KIMI_STEP] * PLAN_STAGES,
            PLAN_TOKENS,
            max_chunk_tokens=CAP_TOKENS,
            min_chunk_tokens=128,
            alignment=128,
        )
        times_ms.append(1e3 * (time.perf_counter() - start_s))
    return planning_row(
        f"whole plan of 1 million tokens, S = {PLAN_STAGES}, through the binding, ms",
        statistics.median(times_ms),
        MAX_PLAN_MS,
        by_case={"smallest": min(times_ms), "largest": max(times_ms), "steps": len(plan.chunks)},
        notes=f"median of {NUM_PLANS}",
    )


def decision_time_figures(build_dir: Path) -> list[Figure]:
    """A step with 255 decodes and a prefill: natively one by one, and as serving does it."""
    medians = native_medians("native_decision", build_dir)
    native_us = {name: median["real_time"] / 1e3 for name, median in medians.items()}
    return [
        planning_row(
            "decision with 256 requests in the step, decodes one by one, native, us",
            native_us["one_by_one"],
            MAX_DECISION_US,
            by_case={"decodes in one call, native": native_us["at_once"]},
            notes="median of batches of steps; the plan is made when a prompt joins, not here",
        ),
        planning_row(
            "decision with 256 requests in the step, decodes in one call, through the binding, us",
            binding_decision_us(),
            MAX_DECISION_US,
            notes="as serving does it; median of batches of steps",
        ),
    ]


def binding_decision_us() -> float:
    """Microseconds a step from Python, decodes in one call."""
    planner = ChunkPlanner(
        [KIMI_STEP] * 8, max_chunk_tokens=16_384, min_chunk_tokens=16, alignment=16
    )
    planner.set_backlog([(131_072, 0)], 0)
    step_ids = itertools.count()

    def decide() -> None:
        planner.begin_step()
        planner.add_decodes(NUM_DECODES, NUM_DECODES * DECODE_CONTEXT_TOKENS)
        num_tokens = planner.chunk_tokens(100_000, 31_072, 16_000)
        planner.add_chunk(num_tokens, 31_072)
        step_id = next(step_ids)
        planner.step_scheduled(step_id, [(num_tokens, 31_072)])
        planner.step_left(step_id)

    repeats_s = timeit.Timer(decide).repeat(repeat=NUM_REPEATS, number=NUM_DECISIONS)
    return 1e6 * statistics.median(repeats_s) / NUM_DECISIONS


def simulator_speed_figures(build_dir: Path) -> list[Figure]:
    """The simulator's own speed, with decisions that cost nothing; and with our planner's."""
    steps_per_s = native_steps_per_s(build_dir)

    def of(policy: str) -> dict[str, float]:
        return {
            name.removeprefix(f"{policy}_"): value
            for name, value in steps_per_s.items()
            if name.startswith(f"{policy}_")
        }

    workloads = (
        "long: 400 prompts of 1 million tokens, alone or 48 at once; mixed: 4000 prompts of 0.5k "
        "to 17k tokens with 32 to 95 output tokens, 8 at once, or all at twice the rate that can "
        "be served"
    )
    fixed, planner = of("fixed"), of("planner")
    return [
        planning_row(
            "simulator, steps/s on one core, fixed chunks, slowest workload",
            min(fixed.values()),
            MIN_STEPS_PER_S,
            is_lower_bound=True,
            by_case=fixed,
            notes=workloads,
        ),
        planning_row(
            "simulator, steps/s on one core, our planner, mixed prompts of 8 users",
            planner["mixed_8"],
            MIN_STEPS_PER_S,
            is_lower_bound=True,
            by_case=planner,
            notes=(
                f"{workloads}. A new plan costs up to half a millisecond: where each is for few "
                "steps (prompts one after the other) or for thousands of waiting prompts, planning "
                "is what takes the time"
            ),
        ),
    ]
