"""The engine core's way to the step timers in the workers."""

from __future__ import annotations

from typing import Any

from cpp_chunk.worker import first_step, timer

# stage -> (start_s, compute_ms) of one step; start_s on the machine's monotonic clock.
StepOnStages = dict[int, tuple[float, float]]
# step_id -> its stages
StageTimes = dict[int, StepOnStages]


def _by_step(replies: list[timer.Reading]) -> StageTimes:
    """Joins the workers' readings: of each stage, its first tensor-parallel rank's."""
    times: StageTimes = {}
    for reading in replies:
        if reading.tp_rank != 0:
            continue
        for step_id, start_s, compute_ms in reading.times:
            times.setdefault(step_id, {})[reading.pp_rank] = (start_s, compute_ms)
    return times


class StageTimers:
    """Installs, reads and removes the timers of all stages.

    Args:
        executor: vLLM's executor; only `collective_rpc` is used.
    """

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self._pending: Any = None

    def prepare_workers(self) -> None:
        """Fills in the buffer without which a CPU worker's first eager step asserts."""
        self._executor.collective_rpc(first_step.prepare)

    def install(self) -> None:
        """Puts a timer around `execute_model` on every worker."""
        self._executor.collective_rpc(timer.install)

    def remove(self) -> None:
        """Takes the timers out again."""
        self._executor.collective_rpc(timer.remove)

    def read_now(self, after_step_id: int) -> StageTimes:
        """Waits for the times of all finished steps after this one: for the profile only."""
        return _by_step(
            self._executor.collective_rpc(timer.read, args=(after_step_id,), kwargs={"wait": True})
        )

    def request(self, after_step_id: int) -> None:
        """Asks the workers, without waiting; at most one question is under way."""
        if self._pending is None:
            self._pending = self._executor.collective_rpc(
                timer.read, args=(after_step_id,), non_block=True
            )

    def poll(self) -> StageTimes | None:
        """The answer if it has come, else None; never waits.

        vLLM's multiprocess executor takes answers in order, so ours is there once the result
        of a later step has been taken.
        """
        if self._pending is None or not self._pending.done():
            return None
        pending, self._pending = self._pending, None
        return _by_step(pending.result())
