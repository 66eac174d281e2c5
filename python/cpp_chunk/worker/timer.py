"""Measure: a stage's compute of each step, without its waits for other stages.

vLLM receives a stage's input lazily: `AsyncIntermediateTensors` waits on first use, so that
input preparation overlaps the transfer. Likewise a stage waits, early in a step, for tokens that
the last one has sampled some steps before. We never force such a wait; we observe where it happens.
What is timed ends before sampling, which is a call of its own.
"""

from __future__ import annotations

import functools
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cpp_chunk.log import init_logger
from cpp_chunk.worker import waits
from cpp_chunk.worker.stopwatch import (
    RING_STEPS,
    DeviceStopwatch,
    HostStopwatch,
    StepTime,
    Stopwatch,
)

if TYPE_CHECKING:
    from collections.abc import Callable

logger = init_logger(__name__)

# Set on a SchedulerOutput by the engine core, and travels with it to every stage.
STEP_ID = "cpp_chunk_step_id"
_TIMER = "_cpp_chunk_step_timer"


@dataclass(frozen=True)
class Reading:
    """A worker's answer: who it is, and (step_id, start_s, compute_ms) of finished steps."""

    pp_rank: int
    tp_rank: int
    times: list[StepTime]


class StepTimer:
    """Stands around `execute_model` of one worker's model runner.

    Args:
        stopwatch: for this worker's device.
    """

    # The runner that is inside execute_model in this process, for the observers of waits.
    _running: StepTimer | None = None

    def __init__(self, stopwatch: Stopwatch) -> None:
        self._stopwatch = stopwatch
        self._ring: deque[StepTime] = deque(maxlen=RING_STEPS)
        self._has_failed = False

    def wrap(self, execute_model: Any) -> Any:
        """The timed function. A failure of the timer ends the timing, not the step."""

        @functools.wraps(execute_model)
        def timed(scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
            step_id = getattr(scheduler_output, STEP_ID, None)
            if step_id is None or self._has_failed:
                return execute_model(scheduler_output, *args, **kwargs)
            self._try(self._stopwatch.begin)
            StepTimer._running = self
            try:
                result = execute_model(scheduler_output, *args, **kwargs)
            finally:
                StepTimer._running = None
            self._try(self._stopwatch.end, step_id)
            return result

        return timed

    @classmethod
    def observe_wait(cls, seconds: float) -> None:
        """Called where a stage has waited for another one."""
        if cls._running is not None:
            cls._running._try(cls._running._stopwatch.input_waited, seconds)

    def _try(self, act: Callable[..., None], *args: Any) -> None:
        try:
            if not self._has_failed:
                act(*args)
        except Exception as error:
            self._has_failed = True
            logger.warning("timing a step failed (%r): no more step times from here", error)

    def times_after(self, step_id: int, *, wait: bool) -> list[StepTime]:
        """Finished steps with a larger number, oldest first."""
        self._ring.extend(self._stopwatch.finished(wait=wait))
        return [times for times in self._ring if times[0] > step_id]


def install(worker: Any) -> None:
    """Puts a timer on this worker's model runner; a second call does nothing."""
    runner = worker.model_runner
    if hasattr(runner, _TIMER):
        return
    waits.observe(StepTimer.observe_wait)
    device_type = runner.device.type
    timer = StepTimer(HostStopwatch() if device_type == "cpu" else DeviceStopwatch(device_type))
    setattr(runner, _TIMER, timer)
    runner.execute_model = timer.wrap(runner.execute_model)


def remove(worker: Any) -> None:
    """Takes the timer off: the class's own `execute_model` shows again."""
    runner = worker.model_runner
    if hasattr(runner, _TIMER):
        delattr(runner, _TIMER)
        del runner.execute_model


def read(worker: Any, after_step_id: int, *, wait: bool = False) -> Reading:
    """The finished steps after this one. Runs in the worker, between steps."""
    from vllm.distributed import get_pp_group, get_tp_group

    timer: StepTimer | None = getattr(worker.model_runner, _TIMER, None)
    times = timer.times_after(after_step_id, wait=wait) if timer is not None else []
    return Reading(get_pp_group().rank_in_group, get_tp_group().rank_in_group, times)
