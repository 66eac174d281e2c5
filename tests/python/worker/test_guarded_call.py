"""What runs in a worker answers, whatever happens there; what the engine core makes of it."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from cpp_chunk.engine.stage_timers import StageTimers, WorkerError
from cpp_chunk.worker import guarded_call, timer


def double(worker: Any, number: int, *, plus: int = 0) -> int:
    return 2 * number + plus


def broken(worker: Any) -> None:
    raise OSError("no more events")


def test_a_function_gets_the_worker_and_its_arguments() -> None:
    assert guarded_call.call(SimpleNamespace(rank=1), double, 4, plus=1) == 9


def test_a_failure_is_an_answer_too() -> None:
    failed = guarded_call.call(SimpleNamespace(rank=1), broken)
    assert failed == guarded_call.Failed(1, "broken: OSError('no more events')")


class Executor:
    """Two workers, of which the first may be broken; answers under way come at once."""

    def __init__(self, first: Any) -> None:
        self.replies = [first, timer.Reading(1, 0, [(7, 1.0, 3.0)])]

    def collective_rpc(self, method: Any, *, non_block: bool = False, **_: Any) -> Any:
        if not non_block:
            return self.replies
        future: Future[Any] = Future()
        future.set_result(self.replies)
        return future


def test_times_of_all_stages_are_joined() -> None:
    stages = StageTimers(Executor(timer.Reading(0, 0, [(7, 0.5, 2.0), (8, 0.7, 2.0)])))
    times = {7: {0: (0.5, 2.0), 1: (1.0, 3.0)}, 8: {0: (0.7, 2.0)}}
    assert stages.read_now(0) == times
    assert stages.poll() is None
    stages.request(0)
    assert stages.poll() == times


def test_a_failed_worker_is_told_of_once_all_have_answered() -> None:
    stages = StageTimers(Executor(guarded_call.Failed(0, "read: oh")))
    with pytest.raises(WorkerError, match="worker 0: read: oh"):
        stages.install()
    stages.request(0)
    with pytest.raises(WorkerError, match="worker 0: read: oh"):
        stages.poll()
    # The answer was taken: the next question can be asked.
    stages.request(0)
    assert stages._pending is not None
