"""The real feedback over stages that are made up: each step's times are those of the models."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from cpp_chunk.engine.calibration.feedback import Feedback
from cpp_chunk.engine.calibration.guard import Guard
from cpp_chunk.engine.calibration.lone_prompt import LonePrompts
from cpp_chunk.engine.calibration.refits import Refits
from cpp_chunk.engine.calibration.step_times import StepTimes
from cpp_chunk.engine.gap import GapMeter
from cpp_chunk.engine.stage_fits import StageCalibrators
from cpp_chunk.records.status import EngineStatus
from cpp_chunk.report.run_report import RunReport
from cpp_chunk.report.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    import cpp_chunk
    from cpp_chunk.engine.planner import ServingPlanner
    from cpp_chunk.engine.stage_timers import StageTimes

# Why a step may be left out though each stage has timed it.
NOT_LOST = {"encoder inputs", "synchronous KV loads", "waited too long for a refit"}


class ScriptedStages:
    """In the place of the workers' timers. A question is answered when it is asked for again.

    Of a step that is under way there are the times of the stages that it has left.
    """

    def __init__(self) -> None:
        self.now_ms = 0.0
        # Of each step and stage: when it began, and what it takes, in ms.
        self._spans: dict[int, list[tuple[float, float]]] = {}
        self._asked: tuple[int, float] | None = None

    def took(self, step_id: int, spans_ms: list[tuple[float, float]]) -> None:
        """What a step will have taken on each stage, as (start, duration)."""
        self._spans[step_id] = spans_ms

    def request(self, after_step_id: int) -> None:
        if self._asked is None:
            self._asked = after_step_id, self.now_ms

    def poll(self) -> StageTimes | None:
        if self._asked is None or self._asked[1] == self.now_ms:
            return None
        [(after_step_id, at_ms), self._asked] = self._asked, None
        self._spans = {key: spans for key, spans in self._spans.items() if key > after_step_id}
        return {
            step_id: {
                stage: (start_ms / 1e3, duration_ms)
                for stage, (start_ms, duration_ms) in enumerate(spans)
                if start_ms + duration_ms <= at_ms
            }
            for step_id, spans in self._spans.items()
            if spans[0][0] + spans[0][1] <= at_ms
        }


class WatchingGuard(Guard):
    """Weighs, and takes nothing away: what tests say of a target is said of dynamic chunks."""

    def __init__(self, lone_prompts: LonePrompts | None) -> None:
        super().__init__(lone_prompts)
        self.num_prompts = 0

    def weigh(self) -> bool:
        super().weigh()
        return False

    def add_prompt(self, measured_ms: float, fixed_ms: float) -> None:
        super().add_prompt(measured_ms, fixed_ms)
        self.num_prompts += 1


class UnpublishedReport(RunReport):
    """What becomes of its files is another matter."""

    def __init__(self, status: EngineStatus) -> None:
        super().__init__(status, deployment=None, trace=Trace())  # type: ignore[arg-type]

    def publish(self, *, is_news: bool = False) -> None:
        pass


class NoRefit:
    """In the place of the thread for refits: none ever ends, so that the models stay exact."""

    def submit(self, *_: Any) -> Future[Any]:
        return Future()


class WatchedFeedback:
    """A `Feedback` of an engine, and what it has come to."""

    def __init__(
        self,
        planner: ServingPlanner,
        models: Sequence[cpp_chunk.LatencyModel],
        max_chunk_tokens: int,
    ) -> None:
        self.stages = ScriptedStages()
        self.guard = WatchingGuard(LonePrompts(max_chunk_tokens) if planner.is_untuned else None)
        self.status = EngineStatus()
        report = UnpublishedReport(self.status)
        self.times = StepTimes(self.stages, len(models), 0, self.status.count_skipped)  # type: ignore[arg-type]
        calibrators = StageCalibrators([], num_stages=len(models), capacity=1)
        self.feedback = Feedback(
            planner=planner,
            models=tuple(models),
            times=self.times,
            refits=Refits(calibrators, NoRefit(), self.status.count_skipped),  # type: ignore[arg-type]
            gaps=GapMeter(),
            guard=self.guard,
            report=report,
        )

    def check_when_idle(self) -> None:
        """Every step that was noted was joined with all of its times, and was as predicted."""
        for _ in range(3):
            self.stages.now_ms += 1.0
            self.feedback.processed(idle=True)
        assert self.times.num_waiting == 0
        assert self.status.skipped_steps.keys() <= NOT_LOST
        assert self.status.prediction_error_sum <= 1e-9 * self.status.prediction_errors
