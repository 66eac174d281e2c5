"""How long one stage computes for a step: by the clock on a CPU, by events on a device."""

from __future__ import annotations

import functools
import time
from collections import deque
from typing import Any, Protocol

# No more steps are kept than this, on either side.
RING_STEPS = 1024

# step_id, start of the compute on the machine's monotonic clock, compute in ms
StepTime = tuple[int, float, float]


class Stopwatch(Protocol):
    """Times one stage's steps, one after the other."""

    def begin(self) -> None:
        """`execute_model` has been entered."""

    def input_waited(self, seconds: float) -> None:
        """A wait for another stage is over; it took this long on the host."""

    def end(self, step_id: int) -> None:
        """The step's last kernel has been launched, or on a CPU run."""

    def finished(self, *, wait: bool) -> list[StepTime]:
        """The steps that have finished since the last call, in order."""


class HostStopwatch:
    """For a CPU: waits are taken off the elapsed time, since what precedes them is work too."""

    def __init__(self) -> None:
        self._start_s = 0.0
        self._waited_s = 0.0
        self._times: list[StepTime] = []

    def begin(self) -> None:
        """Reads the clock."""
        self._waited_s = 0.0
        self._start_s = time.monotonic()

    def input_waited(self, seconds: float) -> None:
        """Moves the start by each wait, so that lanes of a chart do not overlap."""
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
    """For CUDA, NPU, XPU: events of torch's module for the device, recorded now and read later.

    Args:
        device_type: torch's name of the device, such as "cuda" or "npu".
        make_event: makes a timing event; the device's own unless a test brings another.
    """

    def __init__(self, device_type: str, make_event: Any = None) -> None:
        if make_event is None:
            import torch

            # Not torch.Event: vllm-ascend leaves it replaced by an event that takes no device.
            event_class = torch.get_device_module(device_type).Event
            make_event = functools.partial(event_class, enable_timing=True)
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
        """Records the start; each `input_waited` moves it."""
        if self._start is None:
            self._start = self._event()
        self._start.record()

    def input_waited(self, seconds: float) -> None:
        """Records the start anew, behind what the stream now waits for."""
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
            # From step to step: devices tell elapsed time in single precision, which after a day
            # is no finer than 8 ms.
            self._origin_s += self._origin.elapsed_time(start) / 1e3
            times.append((step_id, self._origin_s, start.elapsed_time(end)))
            self._spare += [self._origin, end]
            self._origin = start
        return times
