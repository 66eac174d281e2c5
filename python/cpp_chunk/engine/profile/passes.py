"""Which start-up passes are run: a designed few for a first profile, two to trust an old one."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tqdm import tqdm

from cpp_chunk._core import ProfileSpace, next_passes, scouting_passes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpp_chunk._core import LatencyModel
    from cpp_chunk.engine.profile.profiler import ProfilePass, Profiler

MAX_PASSES: Final = 16
# After the scouts the others are designed in rounds, each with what was measured before it. The
# last round repeats what is furthest from the rest.
_FIRST_ROUND_PASSES: Final = 5
_NUM_REPEATS: Final = 3
# Whatever disturbs a pass makes it longer. So a chunk's time on a stage is sure once its two
# shortest ones differ by less, and longer ones do not count.
_MAX_SPREAD: Final = 0.1
# Where repeats show that passes are disturbed, chunks are measured again until they are sure, a few
# at a time: up to so many passes in all, and for about a minute.
MAX_PASSES_DISTURBED: Final = 3 * MAX_PASSES
_MAX_EXTRA_MS: Final = 60_000.0
_PASSES_AT_A_TIME: Final = 5
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

    Probes of an old profile that were run before count, so that a start never takes more passes
    than MAX_PASSES, or MAX_PASSES_DISTURBED where something else makes passes longer.

    Raises:
        ProfilingError: passes could not be run or timed.
    """
    scouts = scouting_passes(space)
    passes: list[ProfilePass] = []
    with tqdm(total=MAX_PASSES, desc="[cpp_chunk] profiling prefill", unit="pass") as bar:

        def run(chunks: Sequence[tuple[int, int]]) -> list[ProfilePass]:
            measured = profiler.run(chunks[: MAX_PASSES_DISTURBED - profiler.num_passes])
            bar.update(len(measured))
            return measured

        def run_next(num_new: int, num_repeats: int) -> None:
            measured = [
                (chunk, _slowest_ms(times))
                for chunk, times in _stage_times(passes).items()
                for _ in times[0]
            ]
            if measured:
                chosen = next_passes(
                    space, measured, num_new=max(0, num_new), num_repeats=num_repeats
                )
                passes.extend(run(chosen))

        if not profiler.num_passes:
            # Not measured: the first use of anything costs extra, and of large buffers most.
            run([max(scouts)])
        num_chunks = MAX_PASSES - _NUM_REPEATS - profiler.num_passes
        passes += run(scouts)
        run_next(min(_FIRST_ROUND_PASSES, num_chunks - len(passes)), 0)
        run_next(num_chunks - len(passes), 0)
        run_next(0, _NUM_REPEATS)
        num_first = len(passes)
        # Rounds are counted too: passes of one may all find no room.
        for _ in range(MAX_PASSES_DISTURBED - profiler.num_passes):
            again = unsure_chunks(passes)
            extra_ms = sum(one.slowest_ms for one in passes[num_first:])
            is_over = profiler.num_passes == MAX_PASSES_DISTURBED or extra_ms >= _MAX_EXTRA_MS
            if is_over or not again:
                break
            bar.total = MAX_PASSES_DISTURBED
            passes += run(list(again)[:_PASSES_AT_A_TIME])
            # While everything looked longer than it is, there may have been few chunks to take.
            run_next(num_chunks - len(_stage_times(passes)), _NUM_REPEATS)
    return tuple(passes)


def probe(
    profiler: Profiler, passes: Sequence[tuple[int, int]], models: Sequence[LatencyModel]
) -> str | None:
    """Runs a warm-up and two passes of an old profile; these once more where they seem not to hold.

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
    measured = profiler.run([probes[-1], *probes])[1:]
    if not measured:
        return "there is no room for its passes"
    if _why_off(measured, models) is not None:
        # A busy machine makes them longer, and is no reason to give a good profile up.
        measured += profiler.run(probes)
    return _why_off(undisturbed(measured), models)


def _why_off(passes: Sequence[ProfilePass], models: Sequence[LatencyModel]) -> str | None:
    for one in passes:
        chunk = _chunk(one)
        for stage, (model, measured_ms) in enumerate(zip(models, one.stage_ms, strict=True)):
            expected_ms = model.step_ms([chunk])
            if abs(measured_ms / expected_ms - 1) > _MAX_PROBE_ERROR:
                return (
                    f"{chunk[0]} tokens after {chunk[1]} took {measured_ms:.1f} ms on stage "
                    f"{stage}, and not {expected_ms:.1f} ms"
                )
    return None


def unsure_chunks(passes: Sequence[ProfilePass]) -> dict[tuple[int, int], float]:
    """Those that were measured again and did not take the same time twice.

    Returns:
        For (num_tokens, history) the share by which the two shortest times of a stage differ. The
        chunk that is measured again with the least effort comes first.
    """
    times = {chunk: ms for chunk, ms in _stage_times(passes).items() if len(ms[0]) > 1}
    spreads = {
        chunk: max(stage[1] / stage[0] - 1 for stage in stages) for chunk, stages in times.items()
    }
    by_effort = sorted(times, key=lambda chunk: (len(times[chunk][0]), _slowest_ms(times[chunk])))
    return {chunk: spreads[chunk] for chunk in by_effort if spreads[chunk] > _MAX_SPREAD}


def undisturbed(passes: Sequence[ProfilePass]) -> list[ProfilePass]:
    """The passes, with one for all of a chunk that differ: of each stage, its shortest time."""
    kept: list[ProfilePass] = []
    for chunk, times in _stage_times(passes).items():
        of_chunk = [one for one in passes if _chunk(one) == chunk]
        if any(ms[-1] > (1 + _MAX_SPREAD) * ms[0] for ms in times):
            stages = zip(*(one.stages for one in of_chunk), strict=True)
            shortest = tuple(min(stage, key=lambda time: time[1]) for stage in stages)
            of_chunk = [replace(of_chunk[0], stages=shortest)]
        kept += of_chunk
    return kept


def _chunk(one: ProfilePass) -> tuple[int, int]:
    return one.num_tokens, one.num_computed_tokens


def _stage_times(passes: Sequence[ProfilePass]) -> dict[tuple[int, int], list[list[float]]]:
    """Of each chunk and stage, the times in ms, the shortest first."""
    by_chunk: dict[tuple[int, int], list[list[float]]] = {}
    for one in passes:
        by_chunk.setdefault(_chunk(one), []).append(one.stage_ms)
    return {
        chunk: [sorted(stage) for stage in zip(*times, strict=True)]
        for chunk, times in by_chunk.items()
    }


def _slowest_ms(times: Sequence[Sequence[float]]) -> float:
    return max(stage[0] for stage in times)


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
