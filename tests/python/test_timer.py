"""The step timer: what counts as a stage's compute, on a clock and on events."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from cpp_chunk.worker.stopwatch import DeviceStopwatch, HostStopwatch
from cpp_chunk.worker.timer import StepTimer


def step(number: int | None) -> Any:
    return SimpleNamespace() if number is None else SimpleNamespace(cpp_chunk_step_id=number)


def test_the_wait_for_the_stage_before_is_not_compute() -> None:
    timer = StepTimer(HostStopwatch())

    def execute_model(output: Any) -> str:
        time.sleep(0.05)  # input preparation: overlaps the transfer, and is the stage's own work
        start_s = time.monotonic()
        time.sleep(0.2)  # the lazy receive waits
        StepTimer.observe_wait(time.monotonic() - start_s)
        time.sleep(0.05)  # the forward pass
        return "result"

    before_s = time.monotonic()
    assert timer.wrap(execute_model)(step(1)) == "result"
    wall_ms = (time.monotonic() - before_s) * 1e3
    [(step_id, start_s, compute_ms)] = timer.times_after(0, wait=False)
    assert step_id == 1
    assert 100 <= compute_ms <= wall_ms - 200
    assert start_s >= before_s + 0.2


def test_steps_without_a_number_and_steps_that_raise_are_not_timed() -> None:
    timer = StepTimer(HostStopwatch())
    assert timer.wrap(lambda output: 7)(step(None)) == 7

    def failing(output: Any) -> None:
        raise RuntimeError("the model's own")

    with pytest.raises(RuntimeError, match="the model's own"):
        timer.wrap(failing)(step(1))
    assert timer.times_after(0, wait=True) == []
    StepTimer.observe_wait(1.0)  # outside a step: nobody listens


def test_times_after_a_step_can_be_read_again() -> None:
    timer = StepTimer(HostStopwatch())
    timed = timer.wrap(lambda output: None)
    for number in (1, 2, 3):
        timed(step(number))
    assert [t[0] for t in timer.times_after(1, wait=False)] == [2, 3]
    assert [t[0] for t in timer.times_after(0, wait=False)] == [1, 2, 3]


class FakeDevice:
    """A stream with torch.Event's semantics: elapsed_time only between completed events."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self.completed_until_ms = 0.0
        self.synchronisations = 0
        self.made = 0

    def make_event(self) -> FakeEvent:
        self.made += 1
        return FakeEvent(self)


class FakeEvent:
    def __init__(self, device: FakeDevice) -> None:
        self.device = device
        self.at_ms: float | None = None

    def record(self) -> None:
        self.at_ms = self.device.now_ms

    def query(self) -> bool:
        assert self.at_ms is not None
        return self.at_ms <= self.device.completed_until_ms

    def synchronize(self) -> None:
        assert self.at_ms is not None
        self.device.synchronisations += 1
        self.device.completed_until_ms = max(self.device.completed_until_ms, self.at_ms)

    def elapsed_time(self, end: FakeEvent) -> float:
        if not (self.query() and end.query()):
            raise RuntimeError("both events must be completed")
        assert self.at_ms is not None and end.at_ms is not None
        return end.at_ms - self.at_ms


def test_events_are_read_later_and_never_synchronised_in_a_step() -> None:
    device = FakeDevice()
    timer = StepTimer(DeviceStopwatch("npu", device.make_event))
    device.synchronisations = 0

    def execute_model(output: Any, compute_ms: float) -> None:
        device.now_ms += 40.0  # the stream waits for the stage before
        StepTimer.observe_wait(0.0)
        device.now_ms += compute_ms

    timed = timer.wrap(execute_model)
    timed(step(1), 5.0)
    timed(step(2), 7.0)
    assert timer.times_after(0, wait=False) == []  # nothing has completed yet
    device.completed_until_ms = 45.0
    [(number, _, compute_ms)] = timer.times_after(0, wait=False)
    assert (number, compute_ms) == (1, 5.0)
    assert device.synchronisations == 0
    assert [t[2] for t in timer.times_after(1, wait=True)] == [7.0]
    assert device.synchronisations == 1


def test_events_are_used_again() -> None:
    device = FakeDevice()
    timer = StepTimer(DeviceStopwatch("cuda", device.make_event))
    timed = timer.wrap(lambda output: None)
    for number in range(1, 100):
        timed(step(number))
        timer.times_after(number - 1, wait=True)
    assert device.made <= 5


def test_a_first_stage_counts_from_its_beginning() -> None:
    device = FakeDevice()
    timer = StepTimer(DeviceStopwatch("cuda", device.make_event))

    def execute_model(output: Any) -> None:
        device.now_ms += 3.0

    timer.wrap(execute_model)(step(1))
    assert [t[2] for t in timer.times_after(0, wait=True)] == [3.0]


def test_a_failing_timer_leaves_the_step_alone() -> None:
    class Broken(HostStopwatch):
        def begin(self) -> None:
            raise OSError("no more events")

    timer = StepTimer(Broken())
    timed = timer.wrap(lambda output: "result")
    assert timed(step(1)) == "result"
    assert timed(step(2)) == "result"
    assert timer.times_after(0, wait=False) == []
