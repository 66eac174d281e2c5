"""Profile, remembered or measured: where the first models of an engine come from."""

from __future__ import annotations

import itertools
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from cpp_chunk._core import FitRefused
from cpp_chunk.engine.gap import GapMeter
from cpp_chunk.engine.profile.passes import (
    noise_of,
    probe,
    profile_space,
    take_profile,
    undisturbed,
    unsure_chunks,
)
from cpp_chunk.engine.profile.profiler import Profiler
from cpp_chunk.engine.stage_fits import StageFits, StepSample, fit_profile
from cpp_chunk.log import init_logger
from cpp_chunk.records.profile_file import PipelineProfile, ProfiledPass
from cpp_chunk.records.profile_store import ProfileStore
from cpp_chunk.records.utc_time import utc_now
from cpp_chunk.settings.model_shape import alignment_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpp_chunk.engine.profile.profiler import ProfilePass
    from cpp_chunk.engine.stage_timers import StageTimers
    from cpp_chunk.settings.deployment import Deployment

logger = init_logger(__name__)


@dataclass
class FoundProfile:
    """What an engine knows of its stages before it serves.

    Attributes:
        passes: all that were measured.
        samples: those that the fits are of.
        fits: one a stage; None where there is no profile or it carries no fit.
        gap_ms: what a step costs beyond its compute.
        smallest_chunk_tokens: below this, the models are a guess.
        source: where the passes are from; None where there are none.
        problem: why there is no fit.
        is_by_design: nothing failed; there just is no profile with such settings.
        num_passes: run now, warm-up and probes included.
        seconds: that these took.
        last_step_id: the number of the last one.
    """

    passes: list[StepSample] = field(default_factory=list)
    samples: list[StepSample] = field(default_factory=list)
    fits: StageFits | None = None
    gap_ms: float = 0.0
    smallest_chunk_tokens: int = 1
    source: Literal["measured", "remembered"] | None = None
    problem: str | None = None
    is_by_design: bool = False
    num_passes: int = 0
    seconds: float = 0.0
    last_step_id: int = 0


def find_profile(
    scheduler: Any, executor: Any, stages: StageTimers, deployment: Deployment
) -> FoundProfile:
    """Takes the profile that is remembered of this deployment, if it still holds, or a new one.

    What goes wrong is said in one warning; chunks are fixed then until served steps carry a fit.
    """
    problem = why_no_profile(scheduler.parallel_config)
    if problem is not None:
        logger.warning(
            "no start-up profile %s: fixed chunks until served steps carry a fit", problem
        )
        return FoundProfile(problem=f"no start-up profile {problem}", is_by_design=True)
    store = ProfileStore.of_user()
    remembered = store.load(deployment)
    begun_s = time.monotonic()
    found = FoundProfile()
    profiler = Profiler(scheduler, executor, stages)
    try:
        with profiler:
            passes, gap_ms = _remembered_or_measured(scheduler, profiler, remembered, found)
        found.passes, found.gap_ms = _samples_of(passes), gap_ms
        found.samples, found.fits = fit_profile(
            found.passes, scheduler.parallel_config.pipeline_parallel_size
        )
    except TimeoutError:
        # vLLM has given up on a worker.
        raise
    except Exception as error:
        # A failed profile is no prior, however many of its passes went well.
        kept = found.passes if isinstance(error, FitRefused) else []
        problem = f"the start-up profile failed ({error})"
        found = FoundProfile(passes=kept, samples=kept, problem=problem)
        logger.warning("%s: fixed chunks until served steps carry a fit", found.problem)
    found.num_passes = profiler.num_passes
    found.last_step_id = profiler.step_id
    found.seconds = time.monotonic() - begun_s
    if found.fits is not None:
        logger.info(
            "%s profile: %d passes in %.1f s", found.source, found.num_passes, found.seconds
        )
        if found.source == "measured":
            _remember(store, found, deployment)
    return found


def why_no_profile(parallel_config: Any) -> str | None:
    """Where passes of ours would harm, so that a start takes none."""
    if parallel_config.data_parallel_size > 1:
        # Ranks that share experts take every step together; each would wait for the others.
        return "with data parallelism"
    return None


def _remembered_or_measured(
    scheduler: Any, profiler: Profiler, remembered: PipelineProfile | None, found: FoundProfile
) -> tuple[Sequence[ProfiledPass | ProfilePass], float]:
    space, found.smallest_chunk_tokens = profile_space(
        scheduler.max_num_scheduled_tokens, profiler.max_context_tokens, alignment_tokens(scheduler)
    )
    if remembered is not None:
        why_not = _why_not_remembered(profiler, remembered)
        if why_not is None:
            found.source = "remembered"
            return remembered.passes, remembered.gap_ms
        logger.info("the remembered profile does not hold (%s): profiling anew", why_not)
    found.source = "measured"
    every = take_profile(profiler, space)
    passes = undisturbed(every)
    noise = noise_of(passes)
    logger.info(
        "%d passes were disturbed and measured again; the noise of the others is %s",
        len(every) - len(passes),
        f"{100 * noise:.1f} %" if noise is not None else "not known",
    )
    unsure = unsure_chunks(every)
    if unsure:
        logger.info(
            "the machine is busy: after %d passes %d of %d chunks of the start-up profile have not "
            "taken the same time twice, half of these differ by more than %.0f %%; the models are "
            "made of the shortest times, and are given up if steps do not go by them",
            profiler.num_passes,
            len(unsure),
            len({(one.num_tokens, one.num_computed_tokens) for one in every}),
            100 * statistics.median(unsure.values()),
        )
    gaps = GapMeter()
    for before, after in itertools.pairwise(every):
        gaps.add(before.stages[0], after.stages[0])
    return passes, gaps.gap_ms


def _why_not_remembered(profiler: Profiler, remembered: PipelineProfile) -> str | None:
    try:
        samples, fits = fit_profile(_samples_of(remembered.passes), len(remembered.stages))
    except FitRefused as error:
        return str(error)
    return probe(profiler, [chunk for [chunk], _ in samples], fits.models)


def _samples_of(passes: Sequence[ProfiledPass | ProfilePass]) -> list[StepSample]:
    return [([(one.num_tokens, one.num_computed_tokens)], one.stage_ms) for one in passes]


def _remember(store: ProfileStore, found: FoundProfile, deployment: Deployment) -> None:
    assert found.fits is not None  # noqa: S101 - the caller has looked
    profile = PipelineProfile.of(found.fits.models, found.gap_ms).model_copy(
        update={
            "deployment": deployment,
            "passes": [
                ProfiledPass(
                    num_tokens=num_tokens,
                    num_computed_tokens=num_computed_tokens,
                    stage_ms=list(stage_ms),
                )
                for [(num_tokens, num_computed_tokens)], stage_ms in found.passes
            ],
            "measured_at": utc_now(),
            "seconds": found.seconds,
        }
    )
    try:
        store.save(profile)
    except OSError as error:
        logger.warning("the profile is not remembered: %s", error)
