"""Measure: a stage's compute of each step, without the wait for the stage before it.

vLLM receives a stage's input lazily: `AsyncIntermediateTensors` waits on first use, so that
input preparation overlaps the transfer. We never force that wait; we observe where it happens.
On a device two events are recorded around the compute and read steps later, so no step gets a
synchronisation; on a CPU the monotonic clock is read.
"""

from __future__ import annotations

import functools
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cpp_chunk import seams
from cpp_chunk.log import init_logger

if TYPE_CHECKING:
    from collections.abc import Callable

logger = init_logger(__name__)

# Set on a SchedulerOutput by the engine core, and travels with it to every stage.
STEP_ID = "cpp_chunk_step_id"
RING_STEPS = 1024
_TIMER = "_cpp_chunk_step_timer"

# step_id, start of the compute on the machine's monotonic clock, compute
StepTime = tuple[int, float, float]


@dataclass(frozen=True)
class Reading:
    """A worker's answer: who it is, and (step_id, start_s, compute_ms) of finished steps."""

    pp_rank: int
    tp_rank: int
    times: list[StepTime]


class Stopwatch(Protocol):
    """Times one stage's steps, one after the other."""

    def begin(self) -> None:
        """`execute_model` has been entered."""

    def input_waited(self, seconds: float) -> None:
        """The wait for the stage before is over; it took this long on the host."""

    def end(self, step_id: int) -> None:
        """The step's last kernel has been launched, or on a CPU run."""

    def finished(self, *, wait: bool) -> list[StepTime]:
        """The steps that have finished since the last call, in order."""


class HostStopwatch:
    """For a CPU: the wait is taken off the elapsed time, since what precedes it is work too."""

    def __init__(self) -> None:
        self._start_s = 0.0
        self._waited_s = 0.0
        self._times: list[StepTime] = []

    def begin(self) -> None:
        """Reads the clock."""
        self._waited_s = 0.0
        self._start_s = time.monotonic()

    def input_waited(self, seconds: float) -> None:
        """Moves the start by the wait, so that lanes of a chart do not overlap."""
        self._waited_s += seconds

    def end(self, step_id: int) -> None:
        """Reads the clock again."""
        elapsed_s = time.monotonic() - self._start_s - self._waited_s
        self._times.append((step_id, self._start_s + self._waited_s, elapsed_s * 1e3))

    def finished(self, *, wait: bool) -> list[StepTime]:
        """All of them: nothing runs behind the host's back."""
        times, self._times = self._times, []
        return times


class DeviceStopwatch:
    """For CUDA, NPU, XPU: torch's device-neutral events, recorded now and read later.

    Args:
        device_type: torch's name of the device, such as "cuda" or "npu".
        make_event: makes a timing event; `torch.Event` unless a test brings its own.
    """

    def __init__(self, device_type: str, make_event: Any = None) -> None:
        if make_event is None:
            import torch

            make_event = functools.partial(torch.Event, device=device_type, enable_timing=True)
        self._make_event = make_event
        self._spare: list[Any] = []
        self._open: deque[tuple[int, Any, Any]] = deque()
        # One synchronisation, here and not in a step, ties the device's clock to the host's.
        self._origin = make_event()
        self._origin.record()
        self._origin.synchronize()
        self._origin_s = time.monotonic()
        self._start: Any = None

    def _event(self) -> Any:
        return self._spare.pop() if self._spare else self._make_event()

    def begin(self) -> None:
        """Records the start; `input_waited` moves it."""
        if self._start is None:
            self._start = self._event()
        self._start.record()

    def input_waited(self, seconds: float) -> None:
        """Records the start anew, behind the transfer that the stream now waits for."""
        if self._start is not None:
            self._start.record()

    def end(self, step_id: int) -> None:
        """Records the end."""
        end = self._event()
        end.record()
        self._open.append((step_id, self._start, end))
        self._start = None
        if len(self._open) > RING_STEPS:
            _, start, end = self._open.popleft()
            self._spare += [start, end]

    def finished(self, *, wait: bool) -> list[StepTime]:
        """Reads events that have completed; with `wait` (the profile), waits for the last."""
        times: list[StepTime] = []
        if wait and self._open:
            self._open[-1][2].synchronize()
        while self._open and self._open[0][2].query():
            step_id, start, end = self._open.popleft()
            start_s = self._origin_s + self._origin.elapsed_time(start) / 1e3
            times.append((step_id, start_s, start.elapsed_time(end)))
            self._spare += [start, end]
        return times


class StepTimer:
    """Stands around `execute_model` of one worker's model runner.

    Args:
        stopwatch: for this worker's device.
    """

    # The runner that is inside execute_model in this process, for the observer of the wait.
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
        """Called where a lazy receive has waited."""
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
    seams.apply_worker()
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
