"""Which start-up passes are run: a designed few for a first profile, two to trust an old one."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from tqdm import tqdm

from cpp_chunk._core import ProfileSpace, next_passes, scouting_passes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpp_chunk._core import LatencyModel
    from cpp_chunk.engine.profile import ProfilePass, Profiler

MAX_PASSES: Final = 16
# After the scouts the others are designed in rounds, each with what was measured before it. The
# last round repeats what is furthest from the rest.
_FIRST_ROUND_PASSES: Final = 5
_NUM_REPEATS: Final = 3
# Whatever disturbs a pass makes it longer: of two that differ by more, the longer one is dropped.
_MAX_SPREAD: Final = 0.1
# A start must not take long, and a chunk that is longer than this is priced by the others.
_LONGEST_PASS_MS: Final = 1500.0
# Below the KV block little is scheduled but tails, and below 32 tokens a pass is all overhead.
_SMALLEST_CHUNK_TOKENS: Final = 32
# A probe may be this far from what its profile predicts.
_MAX_PROBE_ERROR: Final = 0.2
# Of the standard deviations of pairs, under normal noise.
_MEDIAN_TO_SIGMA: Final = 0.6745


def profile_space(
    max_chunk_tokens: int, max_context_tokens: int, alignment_tokens: int
) -> tuple[ProfileSpace, int]:
    """The space that passes are chosen from, and the smallest chunk in it.

    Args:
        max_chunk_tokens: vLLM's token budget of a step.
        max_context_tokens: what one request may hold.
        alignment_tokens: sizes and histories are multiples of this where they can be.
    """
    largest = max(1, min(max_chunk_tokens, max_context_tokens))
    # Under a small budget a fit needs some sizes too.
    smallest = min(largest, max(_SMALLEST_CHUNK_TOKENS, min(alignment_tokens, largest // 8)))
    space = ProfileSpace(
        smallest_chunk_tokens=smallest,
        max_chunk_tokens=largest,
        max_context_tokens=max(largest, max_context_tokens),
        # Under a budget of few blocks, sizes between them are needed too.
        alignment=min(alignment_tokens, smallest),
        longest_pass_ms=_LONGEST_PASS_MS,
    )
    return space, smallest


def take_profile(profiler: Profiler, space: ProfileSpace) -> tuple[ProfilePass, ...]:
    """Measures a profile: a warm-up, scouts, and what tells most beside these.

    Probes of an old profile that were run before count, so that a start never takes more passes.

    Raises:
        ProfilingError: passes could not be run or timed.
    """
    scouts = scouting_passes(space)
    with tqdm(total=MAX_PASSES, desc="[cpp_chunk] profiling prefill", unit="pass") as bar:

        def run(passes: Sequence[tuple[int, int]]) -> list[ProfilePass]:
            measured = profiler.run(passes)
            bar.update(len(measured))
            return measured

        if not profiler.num_passes:
            # Not measured: the first use of anything costs extra, and of large buffers most.
            run([max(scouts)])
        passes = run(scouts)

        def run_next(num_new: int, num_repeats: int) -> list[ProfilePass]:
            measured = [
                ((one.num_tokens, one.num_computed_tokens), one.slowest_ms) for one in passes
            ]
            if not measured:
                return []
            return run(next_passes(space, measured, num_new=num_new, num_repeats=num_repeats))

        passes += run_next(_FIRST_ROUND_PASSES, 0)
        left = MAX_PASSES - profiler.num_passes
        passes += run_next(left - _NUM_REPEATS, 0)
        passes += run_next(0, _NUM_REPEATS)
    return tuple(passes)


def probe(
    profiler: Profiler, passes: Sequence[tuple[int, int]], models: Sequence[LatencyModel]
) -> str | None:
    """Runs a warm-up and two passes of an old profile.

    Args:
        profiler: inside its context.
        passes: of the old profile, as (num_tokens, num_computed_tokens).
        models: what they were fitted to, one a stage.

    Returns:
        Why the profile does not hold any more, None if it does.

    Raises:
        ProfilingError: passes could not be run or timed.
    """

    def predicted_ms(one: tuple[int, int]) -> float:
        return max(model.step_ms([one]) for model in models)

    if not passes:
        return "it has no passes"
    # Of middling cost: a short one would tell of the constant alone, a long one would take long.
    by_cost = sorted(passes, key=predicted_ms)
    probes = [by_cost[len(by_cost) // 3], by_cost[2 * len(by_cost) // 3]]
    for one in profiler.run([probes[-1], *probes])[1:]:
        chunk = (one.num_tokens, one.num_computed_tokens)
        for stage, (model, measured_ms) in enumerate(zip(models, one.stage_ms, strict=True)):
            expected_ms = model.step_ms([chunk])
            if abs(measured_ms / expected_ms - 1) > _MAX_PROBE_ERROR:
                return (
                    f"{chunk[0]} tokens after {chunk[1]} took {measured_ms:.1f} ms on stage "
                    f"{stage}, and not {expected_ms:.1f} ms"
                )
    return None


def without_disturbed(passes: Sequence[ProfilePass]) -> list[ProfilePass]:
    """The passes without those that took longer than when they were measured again."""
    shortest_ms: dict[tuple[int, int], float] = {}
    for one in passes:
        chunk = (one.num_tokens, one.num_computed_tokens)
        shortest_ms[chunk] = min(one.slowest_ms, shortest_ms.get(chunk, one.slowest_ms))
    return [
        one
        for one in passes
        if one.slowest_ms
        <= (1 + _MAX_SPREAD) * shortest_ms[one.num_tokens, one.num_computed_tokens]
    ]


def noise_of(passes: Sequence[ProfilePass]) -> float | None:
    """Relative standard deviation of a pass's time, from those that were measured twice.

    From the median of them, so that one outlier does not count; None where there are none.
    """
    times_ms: dict[tuple[int, int], list[float]] = {}
    for one in passes:
        times_ms.setdefault((one.num_tokens, one.num_computed_tokens), []).append(one.slowest_ms)
    spreads = [
        statistics.stdev(some) / statistics.fmean(some)
        for some in times_ms.values()
        if len(some) > 1
    ]
    return statistics.median(spreads) / _MEDIAN_TO_SIGMA if spreads else None
