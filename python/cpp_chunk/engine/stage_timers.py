"""The engine core's way to what of ours runs in the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cpp_chunk.engine import rpc_futures
from cpp_chunk.worker import device_name, first_step, guarded_call, pass_guard, timer

if TYPE_CHECKING:
    from collections.abc import Callable

# stage -> (start_s, compute_ms) of one step; start_s on the machine's monotonic clock.
StepOnStages = dict[int, tuple[float, float]]
# step_id -> its stages
StageTimes = dict[int, StepOnStages]


class WorkerError(RuntimeError):
    """Something of ours failed in a worker; the message says what and where."""


class StageTimers:
    """Installs, reads and removes the timers of all stages, and guards the passes of a profile.

    Every method raises WorkerError where a worker says that it failed.

    Args:
        executor: vLLM's executor; only `collective_rpc` is used.
    """

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self._pending: Any = None

    def prepare_workers(self) -> None:
        """Fills in the buffer without which a CPU worker's first eager step asserts."""
        self._call(first_step.prepare)

    def install(self) -> None:
        """Puts a timer around `execute_model` on every worker."""
        self._call(timer.install)

    def remove(self) -> None:
        """Takes the timers out again."""
        self._call(timer.remove)

    def guard_passes(self) -> None:
        """Keeps the stages in step when one fails: for the profile only."""
        self._call(pass_guard.install)

    def end_pass_guard(self) -> list[str]:
        """Ends that; what failed meanwhile, each with its stage."""
        return [failure for failures in self._call(pass_guard.remove) for failure in failures]

    def device_name(self) -> str:
        """What the first worker's device calls itself."""
        name: str = self._call(device_name.name)[0]
        return name

    def read_now(self, after_step_id: int) -> StageTimes:
        """Waits for the times of all finished steps after this one: for the profile only."""
        return _by_step(self._call(timer.read, after_step_id, wait=True))

    def request(self, after_step_id: int) -> None:
        """Asks the workers, without waiting; at most one question is under way."""
        if self._pending is None:
            self._pending = self._executor.collective_rpc(
                guarded_call.call, args=(timer.read, after_step_id), non_block=True
            )

    def poll(self) -> StageTimes | None:
        """The answer if it has come, else None; never waits."""
        if self._pending is None or not rpc_futures.is_there(self._pending):
            return None
        pending, self._pending = self._pending, None
        return _by_step(_checked(rpc_futures.take(pending)))

    def _call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
        replies = self._executor.collective_rpc(
            guarded_call.call, args=(function, *args), kwargs=kwargs
        )
        return _checked(replies)


def _checked(replies: list[Any]) -> list[Any]:
    for one in replies:
        if isinstance(one, guarded_call.Failed):
            raise WorkerError(f"worker {one.rank}: {one.error}")
    return replies


def _by_step(replies: list[timer.Reading]) -> StageTimes:
    """Joins the workers' readings: of each stage, its first tensor-parallel rank's."""
    times: StageTimes = {}
    for reading in replies:
        if reading.tp_rank != 0:
            continue
        for step_id, start_s, compute_ms in reading.times:
            times.setdefault(step_id, {})[reading.pp_rank] = (start_s, compute_ms)
    return times
