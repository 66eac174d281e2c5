"""Report: lets others see what the engine core does; who asks now, and who asks after it ended."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Final

from cpp_chunk import __version__
from cpp_chunk.engine.file_thread import FileThread
from cpp_chunk.last_run import LastRun, write_last_run
from cpp_chunk.status import write_status
from cpp_chunk.utc_time import utc_now

if TYPE_CHECKING:
    from cpp_chunk.deployment import Deployment
    from cpp_chunk.status import EngineStatus

_LAST_RUN_EVERY_S: Final = 10.0


class Report:
    """Has the status file written at each call, and the last run's now and then.

    Each in a thread of its own: they may lie on different disks, and one may hang.

    Args:
        status: the figures; whoever has news writes it in there first.
        deployment: what runs.
    """

    def __init__(self, status: EngineStatus, deployment: Deployment) -> None:
        self.status = status
        self.fixed_because: str | None = None
        self._deployment = deployment
        self._status_file = FileThread("the status for the metrics page")
        self._last_run_file = FileThread("the report of this run")
        self._asked_s: float | None = None

    def publish(self, *, is_news: bool = False) -> None:
        """Shows the figures as they are; does not wait for the files.

        Args:
            is_news: the last run's report cannot wait.
        """
        # The other threads need figures that stay as they are.
        status = self.status.model_copy(deep=True)
        self._status_file.write(functools.partial(write_status, status))
        now_s = time.monotonic()
        if is_news or self._asked_s is None or now_s - self._asked_s > _LAST_RUN_EVERY_S:
            self._asked_s = now_s
            self._last_run_file.write(
                functools.partial(_write_last_run, status, self._deployment, self.fixed_because)
            )

    def wait(self, timeout_s: float) -> bool:
        """Waits for the files to show what was published; False where one takes longer."""
        has_status = self._status_file.wait(timeout_s)
        return self._last_run_file.wait(timeout_s) and has_status


def _write_last_run(status: EngineStatus, deployment: Deployment, because: str | None) -> None:
    is_dynamic = status.target_ms is not None
    write_last_run(
        LastRun(
            at=utc_now(),
            model=deployment.model,
            deployment=deployment.digest,
            vllm_version=deployment.vllm_version,
            cpp_chunk_version=__version__,
            chunks="dynamic" if is_dynamic else "fixed",
            reason=None if is_dynamic else because,
            target_ms=status.target_ms,
            median_error=status.median_error,
            measured_steps=status.measured_steps,
            refits=status.refits,
            fallbacks=status.fallbacks,
            profile=status.profile,
            profile_passes=status.profile_passes,
            profile_s=status.profile_s,
        )
    )
