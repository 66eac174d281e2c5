"""Start-up: puts profile, fit, plan and feedback together before the engine serves."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

from cpp_chunk._core import FitRefused, best_layer_split
from cpp_chunk.engine.feedback import Feedback
from cpp_chunk.engine.gap import GapMeter
from cpp_chunk.engine.model_shape import layers_of_stages, preferred_multiples
from cpp_chunk.engine.planner import ServingPlanner
from cpp_chunk.engine.profile import ProfilePass, Profiler
from cpp_chunk.engine.stage_fits import StageCalibrators, StageFits, StepSample, fit_stages
from cpp_chunk.engine.stages import StageTimers
from cpp_chunk.engine.trace import Trace
from cpp_chunk.log import init_logger
from cpp_chunk.status import EngineStatus, write_status

if TYPE_CHECKING:
    from cpp_chunk.engine.context import EngineContext

logger = init_logger(__name__)

# A few prompts' worth: what was measured long ago tells of a machine that was another.
_RING_SAMPLES = 96
# A layer split is suggested only where it brings more than fits of the stages may be off.
_LEAST_SPLIT_GAIN = 0.03


def start(scheduler: Any, context: EngineContext) -> None:
    """Called at the end of the scheduler's construction.

    Weights and KV cache are there, nothing is in flight. Whatever fails here, the server
    starts, with fixed chunks.
    """
    try:
        _start(scheduler, context)
    except Exception as error:
        scheduler.cpp_chunk_fall_back("starting up", error)


def _start(scheduler: Any, context: EngineContext) -> None:
    config = context.config
    num_stages = scheduler.parallel_config.pipeline_parallel_size
    stages = StageTimers(context.executor)
    stages.prepare_workers()
    trace = Trace()
    stages.install()
    passes, last_step_id = _profile(scheduler, context.executor, stages, trace)
    planner = ServingPlanner(
        config,
        max_chunk_tokens=scheduler.max_num_scheduled_tokens,
        alignment_tokens=scheduler.block_size,
        preferred_multiples=preferred_multiples(scheduler.vllm_config),
        smallest_profiled_tokens=min((one.num_tokens for one in passes), default=1),
    )
    samples: list[StepSample] = [
        (
            [(one.num_tokens, one.num_computed_tokens)],
            [compute_ms for _, compute_ms in one.stages],
        )
        for one in passes
    ]
    gaps = GapMeter()
    for before, after in itertools.pairwise(passes):
        gaps.add(before.stages[0], after.stages[0])
    fits = _fit(samples, num_stages) if samples else None
    if fits is not None:
        planner.set_models(fits.models, gaps.gap_ms)
        trace.write_models("profile", fits, gaps.gap_ms)
        _log_models(fits, gaps.gap_ms, planner.target_ms)
        _suggest_layer_split(scheduler, fits, gaps.gap_ms, planner)
    trace.flush()
    status = EngineStatus(
        fallbacks={} if fits is not None else {"no fit": 1},
        target_ms=planner.target_ms,
        mean_relative_error=fits.worst.mean_relative_error if fits is not None else None,
    )
    write_status(status)
    feedback = None
    if config.need_timing:
        feedback = Feedback(
            stages=stages,
            planner=planner,
            calibrators=StageCalibrators(samples, num_stages, capacity=_RING_SAMPLES),
            models=fits.models if fits is not None else (),
            num_stages=num_stages,
            gaps=gaps,
            first_step_id=last_step_id,
            trace=trace,
            status=status,
        )
    else:
        stages.remove()
    scheduler.cpp_chunk_use(planner, feedback)


def _profile(
    scheduler: Any, executor: Any, stages: StageTimers, trace: Trace
) -> tuple[tuple[ProfilePass, ...], int]:
    if scheduler.connector is not None:
        # A connector would be told of requests that nobody sent and of KV that nobody computed.
        logger.warning(
            "no start-up profile with a KV connector: fixed chunks until served steps carry a fit"
        )
        return (), 0
    start_s = time.monotonic()
    profiler = Profiler(scheduler, executor, stages)
    passes = profiler.run()
    for one in passes:
        trace.write(
            "profile_pass",
            num_tokens=one.num_tokens,
            num_computed_tokens=one.num_computed_tokens,
            stage_ms=[compute_ms for _, compute_ms in one.stages],
        )
    logger.info(
        "profiled %d passes, warm-up included, in %.1f s",
        profiler.step_id,
        time.monotonic() - start_s,
    )
    return passes, profiler.step_id


def _fit(samples: list[StepSample], num_stages: int) -> StageFits | None:
    try:
        return fit_stages(samples, num_stages)
    except FitRefused as error:
        logger.warning("the profile carries no fit (%s): fixed chunks for now", error)
        return None


def _log_models(fits: StageFits, gap_ms: float, target_ms: float | None) -> None:
    for stage, report in enumerate(fits.reports):
        model = report.model
        logger.info(
            "stage %d: %.3g ms/token^2 x^2/2 + %.3g ms/token^2 x*h + %.3g ms/token x + "
            "%.3g ms/token h + %.3g ms, and %.3g ms between steps; fitted to %d passes with mean "
            "error %.1f %% (95th percentile %.1f %%), condition number %.0f%s",
            stage,
            model.quadratic,
            model.cross,
            model.linear,
            model.context,
            model.constant,
            gap_ms,
            report.num_points,
            100 * report.mean_relative_error,
            100 * report.p95_relative_error,
            report.condition_number,
            f"; at their bound of 0: {', '.join(report.at_bound)}" if report.at_bound else "",
        )
    if target_ms is None:
        logger.info("no target: fixed chunks, since smooth_factor is 0")
    else:
        logger.info(
            'target %.2f ms a step to begin with; with target "auto" it follows what waits',
            target_ms,
        )


def _suggest_layer_split(
    scheduler: Any, fits: StageFits, gap_ms: float, planner: ServingPlanner
) -> None:
    """Says which split of the layers would even out unequal stages, if that brings enough."""
    layers = layers_of_stages(scheduler.vllm_config)
    if layers is None:
        return
    prompt_tokens = scheduler.max_model_len
    split = best_layer_split(
        [model.with_overhead(gap_ms) for model in fits.models],
        prompt_tokens,
        layers,
        **planner.limits,  # type: ignore[arg-type]
    )
    gain = 1 - split.makespan_ms / split.makespan_before_ms
    if gain >= _LEAST_SPLIT_GAIN:
        logger.info(
            "stages are unequal with %s layers: VLLM_PP_LAYER_PARTITION=%s would start a lone "
            "prompt of %d tokens %.0f %% sooner",
            ",".join(map(str, layers)),
            ",".join(map(str, split.layers)),
            prompt_tokens,
            100 * gain,
        )
