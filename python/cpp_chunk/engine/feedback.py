"""Step times in, calibrators fed, models swapped.

A step is noted when it is scheduled and joined with its stages' times when those come in, some
steps later: the workers are asked once in a while and nobody waits for their answer.
"""

from __future__ import annotations

import collections
import logging
from typing import TYPE_CHECKING, Any, Final

from cpp_chunk._core import FitRefused
from cpp_chunk.engine.attempt import attempt
from cpp_chunk.engine.noted_step import NotedStep
from cpp_chunk.log import init_logger
from cpp_chunk.worker.stopwatch import RING_STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

    from vllm.v1.request import Request

    from cpp_chunk._core import LatencyModel
    from cpp_chunk.engine.book import BookedStep
    from cpp_chunk.engine.gap import GapMeter
    from cpp_chunk.engine.guard import Guard
    from cpp_chunk.engine.lone_prompt import LonePrompts
    from cpp_chunk.engine.planner import ServingPlanner
    from cpp_chunk.engine.report import Report
    from cpp_chunk.engine.stage_fits import StageCalibrators, StageFits, StepSample
    from cpp_chunk.engine.stages import StageTimers, StageTimes, StepOnStages
    from cpp_chunk.engine.trace import Trace

logger = init_logger(__name__)

_COLLECT_EVERY_NOTED = 8
_REFIT_EVERY_SAMPLES = 8
# Of steps that hold decodes alone, one in this many is noted: they are many and alike.
_NOTE_DECODES_EVERY_STEPS = 16
# As many as the calibrators remember: of more, a refit would forget the older ones at once.
_MAX_WAITING_SAMPLES: Final = 128
# An engine that stops gives its last figures this long, each file: a write takes some ms.
_LAST_FILES_WAIT_S: Final = 0.5


class Feedback:
    """Joins steps with their times and keeps the planner's models true.

    Args:
        stages: the way to the timers.
        planner: whose models are swapped.
        calibrators: fit profile and recent steps, stage by stage.
        models: the profile's, one a stage; none if it carried no fit.
        num_stages: a step counts once this many stages have timed it.
        gaps: a step's cost beyond its compute; has seen the profile.
        guard: whether the planner is to be trusted.
        lone_prompts: what the guard knows of whole prompts; None if it need not know.
        first_step_id: the last one of the profile.
        background: one thread, for refits: they take longer than a step may be kept waiting for.
        trace: where steps and models are written, if the user wants that.
        report: the figures that others see.
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
        guard: Guard,
        lone_prompts: LonePrompts | None,
        first_step_id: int,
        background: ThreadPoolExecutor,
        trace: Trace,
        report: Report,
    ) -> None:
        self._stages = stages
        self._planner = planner
        self._calibrators = calibrators
        self._models = models
        self._num_stages = num_stages
        self._gaps = gaps
        self._guard = guard
        self._lone_prompts = lone_prompts
        self._background = background
        self._trace = trace
        self._report = report
        self._noted: dict[int, NotedStep] = {}
        self._last_joined: tuple[NotedStep, StepOnStages] | None = None
        self._last_joined_step_id = first_step_id
        self._noted_since_request = 0
        self._waiting_samples: collections.deque[StepSample] = collections.deque()
        self._refit: Future[StageFits] | None = None
        self._refused_before = False
        self._distrusted_before = False
        self._num_unusable = 0

    def scheduled(self, booked: BookedStep, requests: Mapping[str, Request]) -> None:
        """Notes the step that `schedule()` has just made, if its time can tell anything."""
        if not booked.prefills and booked.step_id % _NOTE_DECODES_EVERY_STEPS:
            return
        output = booked.output
        if getattr(output, "scheduled_encoder_inputs", None):
            # An image's encoder runs in the same call, and nobody can tell how long it took.
            self._report.status.count_skipped("encoder inputs")
            return
        if getattr(output, "has_sync_kv_loads", False):
            # KV comes over the network in the same call.
            self._report.status.count_skipped("synchronous KV loads")
            return
        tokens = output.num_scheduled_tokens
        remaining = [requests[key].num_tokens - requests[key].num_computed_tokens for key in tokens]
        step = NotedStep(
            list(tokens),
            booked.chunks(requests),
            remaining,
            bool(booked.prefills),
            self._planner.target_ms,
            self._models,
        )
        self._noted[booked.step_id] = step
        self._noted_since_request += 1
        self._guard.note_step()
        # No worker's ring reaches further back: the times of an older step are lost.
        if len(self._noted) > RING_STEPS:
            del self._noted[next(iter(self._noted))]
            self._report.status.count_skipped("lost")
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug(
                "step %d: %s, target %s ms, predicted %s ms",
                booked.step_id,
                ", ".join(f"{n} tokens after {h}" for n, h in step.chunks),
                f"{step.target_ms:.2f}" if step.target_ms is not None else "-",
                f"{step.predicted_ms:.2f}" if step.predicted_ms is not None else "-",
            )

    def processed(self, *, idle: bool) -> None:
        """A step's output was processed: take the times that are there, ask for more."""
        self._take_refit()
        times = self._stages.poll()
        if times is not None:
            self._join(times)
        # Also where nothing has come in: that is a reason of its own.
        if self._guard.weigh():
            self._follow_guard()
        if self._noted and (idle or self._noted_since_request >= _COLLECT_EVERY_NOTED):
            self._noted_since_request = 0
            self._stages.request(self._last_joined_step_id)

    def fell_back(self, reason: str, words: str) -> None:
        """Dynamic chunks are off from here on. Raises nothing, whatever fails here as well.

        Args:
            reason: a few words that say what kind of thing it was, for the metric.
            words: what happened.
        """
        report = self._report
        attempt(self._planner.forget_models)
        attempt(self._trace.write, "fallback", reason=words)
        attempt(self._trace.flush)
        attempt(report.status.count_fallback, reason)
        report.status.target_ms = None
        report.fixed_because = words
        attempt(report.publish, is_news=True)

    def ended(self) -> None:
        """The engine stops: what has come in is kept, if its disk is quick. Raises nothing."""
        attempt(self._publish, is_news=True)
        for files in (self._trace, self._report):
            attempt(files.wait, _LAST_FILES_WAIT_S)
        attempt(self._background.shutdown, wait=False)

    def _join(self, times: StageTimes) -> None:
        # Steps end in order: up to here every stage has none left to tell of.
        complete = self._last_common_step(times)
        for step_id in sorted(key for key in times if key <= complete):
            stages = times[step_id]
            step = self._noted.pop(step_id, None)
            if step is None or len(stages) < self._num_stages:
                self._last_joined = None
                self._report.status.count_skipped("not timed by every stage", int(step is not None))
                continue
            self._take_step(step_id, step, stages)
        if complete > self._last_joined_step_id:
            self._last_joined_step_id = complete
            lost = [key for key in self._noted if key <= complete]
            for step_id in lost:
                del self._noted[step_id]
            self._report.status.count_skipped("lost", len(lost))
        if self._refit is None and len(self._waiting_samples) >= _REFIT_EVERY_SAMPLES:
            samples = list(self._waiting_samples)
            self._waiting_samples.clear()
            self._refit = self._background.submit(self._calibrators.update, samples)
        self._publish()

    def _last_common_step(self, times: StageTimes) -> int:
        last = dict.fromkeys(range(self._num_stages), 0)
        for step_id, stages in times.items():
            for stage in stages:
                last[stage] = max(last[stage], step_id)
        return min(last.values())

    def _take_step(self, step_id: int, step: NotedStep, stages: StepOnStages) -> None:
        status = self._report.status
        self._guard.join_step()
        before, self._last_joined = self._last_joined, (step, stages)
        if before is not None and step.continues(before[0]):
            self._gaps.add(before[1][0], stages[0])
        stage_ms = [compute_ms for _, (_, compute_ms) in sorted(stages.items())]
        if len(self._waiting_samples) == _MAX_WAITING_SAMPLES:
            self._waiting_samples.popleft()
            status.count_skipped("waited too long for a refit")
        self._waiting_samples.append((step.chunks, stage_ms))
        status.measured_steps += 1
        predicted_ms, measured_ms = step.predicted_ms, max(stage_ms)
        if predicted_ms is not None and step.has_prefill and measured_ms > 0:
            status.prediction_error_sum += abs(predicted_ms / measured_ms - 1)
            status.prediction_errors += 1
            self._guard.add_step(predicted_ms, measured_ms)
        if self._lone_prompts is not None:
            prompt = self._lone_prompts.add(step, stages, self._gaps.gap_ms)
            if prompt is not None:
                self._guard.add_prompt(*prompt)
        self._trace_step(step_id, step, stages)

    def _follow_guard(self) -> None:
        """Trust was lost, or has come back."""
        distrust = self._guard.distrust
        self._planner.trust(trusted=distrust is None)
        self._trace.write("guard", distrust=distrust)
        self._report.fixed_because = distrust
        if distrust is None:
            logger.info("predictions hold again: dynamic chunks")
        else:
            self._report.status.count_fallback("guard")
            # Said once: it may happen again and again on a machine with a noisy neighbour.
            say = logger.debug if self._distrusted_before else logger.warning
            say("%s: fixed chunks until predictions hold again", distrust)
            self._distrusted_before = True
        self._publish(is_news=True)

    def _take_refit(self) -> None:
        """Swaps the models once fits are there."""
        if self._refit is None or not self._refit.done():
            return
        refit, self._refit = self._refit, None
        status = self._report.status
        num_unusable, self._num_unusable = self._num_unusable, self._calibrators.num_rejected
        status.count_skipped("unusable time", self._num_unusable - num_unusable)
        try:
            fits = refit.result()
        except FitRefused as error:
            if not self._refused_before:
                has = "keeps the models it has" if self._models else "has no models yet"
                logger.info("calibration %s: %s", has, error)
            self._refused_before = True
            return
        if self._calibrators.num_drifts > status.drifts:
            logger.info("step times have drifted: the models follow")
        status.drifts = self._calibrators.num_drifts
        status.refits += 1
        status.mean_relative_error = fits.worst.mean_relative_error
        self._models = fits.models
        self._planner.set_models(fits.models, self._gaps.gap_ms)
        self._trace.write_models("calibration", fits, self._gaps.gap_ms)
        logger.debug(
            "calibrated from %d points: mean error %.1f %%",
            fits.worst.num_points,
            100 * fits.worst.mean_relative_error,
        )
        self._publish()

    def _publish(self, *, is_news: bool = False) -> None:
        """Lets others see what has come in."""
        self._trace.flush()
        self._report.status.target_ms = self._planner.target_ms
        self._report.status.median_error = self._guard.median_error
        self._report.publish(is_news=is_news)

    def _trace_step(self, step_id: int, step: NotedStep, stages: StepOnStages) -> None:
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
