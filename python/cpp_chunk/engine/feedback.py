"""Step times in, calibrators fed, models swapped.

A step is noted when it is scheduled and joined with its stages' times when those come in, some
steps later: the workers are asked once in a while and nobody waits for their answer.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cpp_chunk._core import FitRefused
from cpp_chunk.log import init_logger
from cpp_chunk.status import EngineStatus, write_status
from cpp_chunk.worker.timer import RING_STEPS, STEP_ID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.request import Request

    from cpp_chunk._core import LatencyModel
    from cpp_chunk.engine.gap import GapMeter
    from cpp_chunk.engine.planner import ServingPlanner
    from cpp_chunk.engine.stage_fits import Chunks, StageCalibrators, StageFits
    from cpp_chunk.engine.stages import StageTimers, StageTimes, StepOnStages
    from cpp_chunk.engine.trace import Trace

logger = init_logger(__name__)

_COLLECT_EVERY_STEPS = 16
_REFIT_EVERY_SAMPLES = 16
# Of steps that hold decodes alone, one in this many is noted: they are many and alike.
_NOTE_DECODES_EVERY_STEPS = 16


@dataclass(slots=True)
class _NotedStep:
    request_ids: list[str]
    chunks: Chunks
    target_ms: float | None
    models: Sequence[LatencyModel]  # those in force when it was scheduled

    @property
    def predicted_ms(self) -> float | None:
        """Compute on the slowest stage, as predicted when it was scheduled."""
        return max((model.step_ms(self.chunks) for model in self.models), default=None)

    def continues(self, before: _NotedStep) -> bool:
        """Whether a prompt had a chunk in that step and has one in this: no pause between."""
        return any(
            chunk[0] > 1 and request_id in before.request_ids
            for request_id, chunk in zip(self.request_ids, self.chunks, strict=True)
        )


class Feedback:
    """Joins steps with their times and keeps the planner's models true.

    Args:
        stages: the way to the timers.
        planner: whose models are swapped.
        calibrators: fit profile and recent steps, stage by stage.
        models: the profile's, one a stage; none if it carried no fit.
        num_stages: a step counts once this many stages have timed it.
        gaps: a step's cost beyond its compute; has seen the profile.
        trace: where steps and models are written, if the user wants that.
        status: the figures that the front end shows.
    """

    def __init__(
        self,
        *,
        stages: StageTimers,
        planner: ServingPlanner,
        calibrators: StageCalibrators,
        models: Sequence[LatencyModel],
        num_stages: int,
        gaps: GapMeter,
        first_step_id: int,
        trace: Trace,
        status: EngineStatus,
    ) -> None:
        self._stages = stages
        self._planner = planner
        self._calibrators = calibrators
        self._models = models
        self._num_stages = num_stages
        self._gaps = gaps
        self._last_joined: tuple[_NotedStep, StepOnStages] | None = None
        self._trace = trace
        self._status = status
        self._step_id = first_step_id
        self._noted: dict[int, _NotedStep] = {}
        self._last_joined_step_id = first_step_id
        self._steps_since_request = 0
        self._waiting_samples: list[tuple[Chunks, list[float]]] = []
        self._refitter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cpp-chunk-refit")
        self._refit: Future[StageFits] | None = None
        self._refused_before = False

    def scheduled(self, output: SchedulerOutput, requests: Mapping[str, Request]) -> None:
        """Notes the step that `schedule()` has just made, and numbers it for the timers."""
        self._step_id += 1
        setattr(output, STEP_ID, self._step_id)
        self._steps_since_request += 1
        tokens = output.num_scheduled_tokens
        decodes_only = output.total_num_scheduled_tokens == len(tokens)
        if decodes_only and self._step_id % _NOTE_DECODES_EVERY_STEPS:
            return
        # schedule() has moved num_computed_tokens past this step already.
        chunks = [(n, requests[key].num_computed_tokens - n) for key, n in tokens.items()]
        step = _NotedStep(list(tokens), chunks, self._planner.target_ms, self._models)
        self._noted[self._step_id] = step
        # No worker's ring reaches further back: the times of an older step are lost.
        if len(self._noted) > RING_STEPS:
            del self._noted[next(iter(self._noted))]
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug(
                "step %d: %s, target %s ms, predicted %s ms",
                self._step_id,
                ", ".join(f"{n} tokens after {h}" for n, h in chunks),
                f"{step.target_ms:.2f}" if step.target_ms is not None else "-",
                f"{step.predicted_ms:.2f}" if step.predicted_ms is not None else "-",
            )

    def processed(self, *, idle: bool) -> None:
        """A step's output was processed: take the times that are there, ask for more."""
        self._take_refit()
        times = self._stages.poll()
        if times is not None:
            self._join(times)
        if self._noted and (idle or self._steps_since_request >= _COLLECT_EVERY_STEPS):
            self._steps_since_request = 0
            self._stages.request(self._last_joined_step_id)

    def fell_back(self, doing: str, error: BaseException) -> None:
        """Dynamic chunks are off from here on."""
        self._trace.write("fallback", reason=f"{doing}: {error!r}")
        self._status.fallbacks[doing] = self._status.fallbacks.get(doing, 0) + 1
        self._planner.forget_models()
        self._publish()

    def _join(self, times: StageTimes) -> None:
        for step_id in sorted(times):
            stages = times[step_id]
            if len(stages) < self._num_stages:
                break
            self._last_joined_step_id = step_id
            step = self._noted.pop(step_id, None)
            if step is None:
                self._last_joined = None
                continue
            self._measure_gap(step, stages)
            self._status.measured_steps += 1
            self._trace_step(step_id, step, stages)
            stage_ms = [compute_ms for _, (_, compute_ms) in sorted(stages.items())]
            self._waiting_samples.append((step.chunks, stage_ms))
        for step_id in [key for key in self._noted if key <= self._last_joined_step_id]:
            del self._noted[step_id]
        if self._refit is None and len(self._waiting_samples) >= _REFIT_EVERY_SAMPLES:
            self._start_refit()
        self._publish()

    def _measure_gap(self, step: _NotedStep, stages: StepOnStages) -> None:
        before, self._last_joined = self._last_joined, (step, stages)
        if before is not None and step.continues(before[0]):
            self._gaps.add(before[1][0], stages[0])

    def _start_refit(self) -> None:
        """Fits in a thread: it takes longer than a step may be kept waiting for."""
        for chunks, stage_ms in self._waiting_samples:
            self._calibrators.add(chunks, stage_ms)
        self._waiting_samples.clear()
        self._refit = self._refitter.submit(self._calibrators.refit)

    def _take_refit(self) -> None:
        """Swaps the models once fits are there."""
        if self._refit is None or not self._refit.done():
            return
        refit, self._refit = self._refit, None
        try:
            fits = refit.result()
        except FitRefused as error:
            if not self._refused_before:
                has = "keeps the models it has" if self._models else "has no models yet"
                logger.info("calibration %s: %s", has, error)
            self._refused_before = True
            return
        self._status.refits += 1
        self._status.mean_relative_error = fits.worst.mean_relative_error
        self._models = fits.models
        self._planner.set_models(fits.models, self._gaps.gap_ms)
        self._trace.write_models("calibration", fits, self._gaps.gap_ms)
        logger.debug(
            "calibrated from %d points: mean error %.1f %%",
            fits.worst.num_points,
            100 * fits.worst.mean_relative_error,
        )
        self._publish()

    def _publish(self) -> None:
        """Lets others see what has come in."""
        self._trace.flush()
        self._status.target_ms = self._planner.target_ms
        write_status(self._status)

    def _trace_step(self, step_id: int, step: _NotedStep, stages: StepOnStages) -> None:
        if not self._trace.is_wanted:
            return
        chunks: list[Any] = [
            [key, *chunk] for key, chunk in zip(step.request_ids, step.chunks, strict=True)
        ]
        self._trace.write(
            "step",
            step=step_id,
            chunks=chunks,
            target_ms=step.target_ms,
            predicted_ms=step.predicted_ms,
            stages=[
                {"start_s": start_s, "compute_ms": compute_ms}
                for _, (start_s, compute_ms) in sorted(stages.items())
            ],
        )
