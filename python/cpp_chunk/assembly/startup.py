"""Start-up: puts profile, fit, plan and feedback together before the engine serves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from cpp_chunk._core import best_layer_split
from cpp_chunk.engine.calibration.feedback import Feedback
from cpp_chunk.engine.calibration.guard import Guard
from cpp_chunk.engine.calibration.lone_prompt import LonePrompts
from cpp_chunk.engine.calibration.refits import Refits
from cpp_chunk.engine.calibration.step_times import StepTimes
from cpp_chunk.engine.gap import GapMeter
from cpp_chunk.engine.planner import ServingPlanner
from cpp_chunk.engine.profile.found_profile import FoundProfile, find_profile
from cpp_chunk.engine.stage_fits import StageCalibrators, StageFits
from cpp_chunk.engine.stage_timers import StageTimers
from cpp_chunk.log import init_logger
from cpp_chunk.records.status import EngineStatus
from cpp_chunk.report.run_report import RunReport
from cpp_chunk.report.trace import Trace
from cpp_chunk.settings.deployment import Deployment
from cpp_chunk.settings.model_shape import (
    alignment_tokens,
    layers_of_stages,
    preferred_multiples,
)

if TYPE_CHECKING:
    from cpp_chunk.assembly.context import EngineContext

logger = init_logger(__name__)

# Several half-lives of a sample's weight: what came before hardly counts.
_RING_SAMPLES = 128
# A layer split is suggested only where it brings more than fits of the stages may be off.
_LEAST_SPLIT_GAIN = 0.03


def start(scheduler: Any, context: EngineContext) -> None:
    """Called at the end of the scheduler's construction.

    Weights and KV cache are there, nothing is in flight. Whatever fails here, the server
    starts, with fixed chunks.

    Raises:
        TimeoutError: vLLM gave up on a worker that hangs: nothing could be served.
    """
    try:
        _start(scheduler, context)
    except TimeoutError:
        raise
    except Exception as error:
        scheduler.cpp_chunk_fall_back("starting up", error)


def _start(scheduler: Any, context: EngineContext) -> None:
    config = context.config
    num_stages = scheduler.parallel_config.pipeline_parallel_size
    stages = StageTimers(context.executor)
    stages.prepare_workers()
    trace = Trace()
    stages.install()
    deployment = Deployment.of(scheduler.vllm_config, stages.device_name())
    found = find_profile(scheduler, context.executor, stages, deployment)
    planner = ServingPlanner(
        config,
        max_chunk_tokens=scheduler.max_num_scheduled_tokens,
        alignment_tokens=alignment_tokens(scheduler),
        preferred_multiples=preferred_multiples(scheduler.vllm_config),
        smallest_profiled_tokens=found.smallest_chunk_tokens,
        max_in_flight=scheduler.vllm_config.max_concurrent_batches,
    )
    gaps = GapMeter(found.gap_ms)
    _trace_profile(trace, found)
    if found.fits is not None:
        planner.set_models(found.fits.models, gaps.gap_ms)
        trace.write_models("profile", found.fits.models, found.fits.worst, gaps.gap_ms)
        _log_models(found.fits, gaps.gap_ms, planner.target_ms)
        _suggest_layer_split(scheduler, found.fits, gaps.gap_ms, planner)
    status = EngineStatus(
        fallbacks={} if found.fits is not None or found.is_by_design else {"no fit": 1},
        target_ms=planner.target_ms,
        mean_relative_error=found.fits.worst.mean_relative_error if found.fits else None,
        profile=found.source,
        profile_passes=found.num_passes,
        profile_s=found.seconds,
    )
    report = RunReport(status, deployment, trace)
    report.fixed_because = found.problem or (
        "smooth_factor is 0" if config.smooth_factor == 0 else None
    )
    report.publish(is_news=True)
    feedback = None
    if config.need_timing:
        # Who asks for a certain step time gets it, also where fixed chunks would be sooner.
        lone_prompts = (
            LonePrompts(scheduler.max_num_scheduled_tokens) if planner.is_untuned else None
        )
        feedback = Feedback(
            planner=planner,
            models=found.fits.models if found.fits is not None else (),
            times=StepTimes(stages, num_stages, found.last_step_id, status.count_skipped),
            refits=Refits(
                StageCalibrators(found.samples, num_stages, capacity=_RING_SAMPLES),
                ThreadPoolExecutor(max_workers=1, thread_name_prefix="cpp-chunk"),
                status.count_skipped,
            ),
            gaps=gaps,
            guard=Guard(lone_prompts),
            report=report,
        )
    else:
        stages.remove()
    scheduler.cpp_chunk_use(planner, feedback)


def _trace_profile(trace: Trace, found: FoundProfile) -> None:
    if found.source is not None:
        trace.write(
            "profile", source=found.source, num_passes=found.num_passes, seconds=found.seconds
        )
    for [(num_tokens, num_computed_tokens)], stage_ms in found.passes:
        trace.write(
            "profile_pass",
            num_tokens=num_tokens,
            num_computed_tokens=num_computed_tokens,
            stage_ms=list(stage_ms),
        )


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
    """Says which split of the layers would even out unequal stages, if that brings enough.

    A hint and no more: what fails in it is said, and matters to nobody.
    """
    try:
        _log_layer_split(scheduler, fits, gap_ms, planner)
    except Exception as error:
        logger.info("no split of the layers is suggested (%r)", error)


def _log_layer_split(
    scheduler: Any, fits: StageFits, gap_ms: float, planner: ServingPlanner
) -> None:
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
