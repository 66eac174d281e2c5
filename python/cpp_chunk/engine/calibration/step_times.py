"""Noted steps joined with their stages' times, which come in some steps later.

The workers are asked once in a while, and nobody waits for their answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cpp_chunk.worker.stopwatch import RING_STEPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from cpp_chunk.engine.calibration.noted_step import NotedStep
    from cpp_chunk.engine.stage_timers import StageTimers, StageTimes, StepOnStages

_ASK_EVERY_NOTED = 8


@dataclass(slots=True)
class TimedStep:
    """A step, and what it took.

    Attributes:
        step_id: its number.
        noted: the step as it was scheduled.
        stages: each stage's (start_s, compute_ms).
        first_stage_before: the first stage's (start_s, compute_ms) of the step before, if a prompt
            went on from there without a pause; else None.
    """

    step_id: int
    noted: NotedStep
    stages: StepOnStages
    first_stage_before: tuple[float, float] | None

    @property
    def stage_ms(self) -> list[float]:
        """Each stage's compute, in the pipeline's order."""
        return [compute_ms for _, (_, compute_ms) in sorted(self.stages.items())]

    def trace_fields(self) -> dict[str, Any]:
        """What a trace says of it."""
        step = self.noted
        return {
            "step": self.step_id,
            "chunks": [
                [key, *chunk] for key, chunk in zip(step.request_ids, step.chunks, strict=True)
            ],
            "target_ms": step.target_ms,
            "predicted_ms": step.predicted_ms,
            "stages": [
                {"start_s": start_s, "compute_ms": compute_ms}
                for _, (start_s, compute_ms) in sorted(self.stages.items())
            ],
        }


class StepTimes:
    """Steps that wait for their times, and those that have them.

    Args:
        timers: the way to the workers.
        num_stages: a step counts once this many stages have timed it.
        last_step_id: the last one of the profile.
        skipped: told of steps that are left out: why, and how many.
    """

    def __init__(
        self,
        timers: StageTimers,
        num_stages: int,
        last_step_id: int,
        skipped: Callable[[str, int], None],
    ) -> None:
        self._timers = timers
        self._num_stages = num_stages
        self._last_joined_step_id = last_step_id
        self._skipped = skipped
        self._noted: dict[int, NotedStep] = {}
        self._last_joined: TimedStep | None = None
        self._noted_since_question = 0

    @property
    def num_waiting(self) -> int:
        """Steps whose times are to come."""
        return len(self._noted)

    def note(self, step_id: int, step: NotedStep) -> None:
        """Takes a step that has been scheduled."""
        self._noted[step_id] = step
        self._noted_since_question += 1
        # No worker's ring reaches further back: the times of an older step are lost.
        if len(self._noted) > RING_STEPS:
            del self._noted[next(iter(self._noted))]
            self._skipped("lost", 1)

    def ask(self, *, idle: bool) -> None:
        """Asks the workers for times, if some have come together or nothing else is to come."""
        if self._noted and (idle or self._noted_since_question >= _ASK_EVERY_NOTED):
            self._noted_since_question = 0
            self._timers.request(self._last_joined_step_id)

    def collect(self) -> list[TimedStep] | None:
        """The steps whose times have come in since the last call, in order; None without news."""
        times = self._timers.poll()
        if times is None:
            return None
        joined = []
        # Steps end in order: up to here every stage has none left to tell of.
        complete = self._last_common_step(times)
        for step_id in sorted(key for key in times if key <= complete):
            stages = times[step_id]
            step = self._noted.pop(step_id, None)
            if step is None or len(stages) < self._num_stages:
                self._last_joined = None
                self._skipped("not timed by every stage", int(step is not None))
                continue
            joined.append(self._joined(step_id, step, stages))
        if complete > self._last_joined_step_id:
            self._last_joined_step_id = complete
            lost = [key for key in self._noted if key <= complete]
            for step_id in lost:
                del self._noted[step_id]
            self._skipped("lost", len(lost))
        return joined

    def _joined(self, step_id: int, step: NotedStep, stages: StepOnStages) -> TimedStep:
        before = self._last_joined
        goes_on = before is not None and step.continues(before.noted)
        self._last_joined = TimedStep(
            step_id, step, stages, before.stages[0] if before is not None and goes_on else None
        )
        return self._last_joined

    def _last_common_step(self, times: StageTimes) -> int:
        last = dict.fromkeys(range(self._num_stages), 0)
        for step_id, stages in times.items():
            for stage in stages:
                last[stage] = max(last[stage], step_id)
        return min(last.values())
