"""Calibrate: step times in, models swapped, trust weighed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from cpp_chunk.attempt import attempt
from cpp_chunk.engine.calibration.noted_step import NotedStep
from cpp_chunk.log import init_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vllm.v1.request import Request

    from cpp_chunk._core import LatencyModel
    from cpp_chunk.engine.book import BookedStep
    from cpp_chunk.engine.calibration.guard import Guard
    from cpp_chunk.engine.calibration.refits import Refits
    from cpp_chunk.engine.calibration.step_times import StepTimes, TimedStep
    from cpp_chunk.engine.gap import GapMeter
    from cpp_chunk.engine.planner import ServingPlanner
    from cpp_chunk.report.run_report import RunReport

logger = init_logger(__name__)

# Of steps that hold decodes alone, one in this many is noted: they are many and alike.
_NOTE_DECODES_EVERY_STEPS = 16
# An engine that stops gives its last figures this long, each file: a write takes some ms.
_LAST_FILES_WAIT_S: Final = 0.5


class Feedback:
    """Keeps the planner's models true, and takes chunks out of its hands where they are not.

    Args:
        planner: whose models are swapped.
        models: the profile's, one a stage; none if it carried no fit.
        times: joins steps with what they took.
        refits: fits profile and recent steps.
        gaps: a step's cost beyond its compute; has seen the profile.
        guard: whether the planner is to be trusted.
        report: the figures that others see.
    """

    def __init__(
        self,
        *,
        planner: ServingPlanner,
        models: Sequence[LatencyModel],
        times: StepTimes,
        refits: Refits,
        gaps: GapMeter,
        guard: Guard,
        report: RunReport,
    ) -> None:
        self._planner = planner
        self._models = models
        self._times = times
        self._refits = refits
        self._gaps = gaps
        self._guard = guard
        self._report = report
        self._was_distrusted = False

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
        step = NotedStep(
            list(tokens),
            booked.chunks(requests),
            [requests[key].num_tokens - requests[key].num_computed_tokens for key in tokens],
            bool(booked.prefills),
            self._planner.target_ms,
            self._models,
        )
        self._times.note(booked.step_id, step)
        self._guard.note_step()
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("step %d: %s", booked.step_id, step)

    def processed(self, *, idle: bool) -> None:
        """A step's output was processed: take the times that are there, ask for more."""
        self._take_refit()
        timed = self._times.collect()
        if timed is not None:
            for step in timed:
                self._take_step(step)
            self._refits.start()
            self._publish()
        # Also where nothing has come in: that is a reason of its own.
        if self._guard.weigh():
            self._follow_guard()
        self._times.ask(idle=idle)

    def fell_back(self, reason: str, words: str) -> None:
        """Dynamic chunks are off from here on. Raises nothing, whatever fails here as well.

        Args:
            reason: a few words that say what kind of thing it was, for the metric.
            words: what happened.
        """
        attempt(self._planner.forget_models)
        attempt(self._report.fell_back, reason, words)

    def ended(self) -> None:
        """The engine stops: what has come in is kept, if its disk is quick. Raises nothing."""
        attempt(self._publish, is_news=True)
        attempt(self._report.wait, _LAST_FILES_WAIT_S)
        attempt(self._refits.end)

    def _take_step(self, step: TimedStep) -> None:
        if step.first_stage_before is not None:
            self._gaps.add(step.first_stage_before, step.stages[0])
        self._refits.add((step.noted.chunks, step.stage_ms))
        error = self._guard.take_step(step.noted, step.stages, self._gaps.gap_ms)
        self._report.measured(error)
        if self._report.trace.is_wanted:
            self._report.trace.write("step", **step.trace_fields())

    def _follow_guard(self) -> None:
        """Trust was lost, or has come back."""
        distrust = self._guard.distrust
        self._planner.trust(trusted=distrust is None)
        self._report.distrusted(distrust)
        if distrust is None:
            logger.info("predictions hold again: dynamic chunks")
        else:
            # Said once: it may happen again and again on a machine with a noisy neighbour.
            say = logger.debug if self._was_distrusted else logger.warning
            say("%s: fixed chunks until predictions hold again", distrust)
            self._was_distrusted = True
        self._publish(is_news=True)

    def _take_refit(self) -> None:
        """Swaps the models once fits are there."""
        fits = self._refits.take()
        if fits is None:
            return
        self._models = fits.models
        gap_ms = self._gaps.gap_ms
        self._planner.set_models(fits.models, gap_ms)
        self._report.calibrated(fits.models, fits.worst, gap_ms, self._refits.num_drifts)
        self._publish()

    def _publish(self, *, is_news: bool = False) -> None:
        """Lets others see what has come in."""
        self._report.status.target_ms = self._planner.target_ms
        self._report.status.median_error = self._guard.median_error
        self._report.publish(is_news=is_news)
