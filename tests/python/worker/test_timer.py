"""The step timer: what counts as a stage's compute, by the clock."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from cpp_chunk.worker.stopwatch import HostStopwatch
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


def test_a_failing_timer_leaves_the_step_alone() -> None:
    class Broken(HostStopwatch):
        def begin(self) -> None:
            raise OSError("no more events")

    timer = StepTimer(Broken())
    timed = timer.wrap(lambda output: "result")
    assert timed(step(1)) == "result"
    assert timed(step(2)) == "result"
    assert timer.times_after(0, wait=False) == []
