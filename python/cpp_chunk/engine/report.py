"""Report: lets others see what the engine core does; who asks now, and who asks after it ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from cpp_chunk import __version__
from cpp_chunk.last_run import LastRun, write_last_run
from cpp_chunk.status import write_status
from cpp_chunk.utc_time import utc_now

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from cpp_chunk.deployment import Deployment
    from cpp_chunk.status import EngineStatus

_LAST_RUN_EVERY_S: Final = 10.0


class Report:
    """Writes the status file at each call, and the last run's now and then.

    Args:
        status: the figures; whoever has news writes it in there first.
        deployment: what runs.
        background: where files that must reach the disk are written.
    """

    def __init__(
        self, status: EngineStatus, deployment: Deployment, background: ThreadPoolExecutor
    ) -> None:
        self.status = status
        self.fixed_because: str | None = None
        self._deployment = deployment
        self._background = background
        self._written_s: float | None = None

    def publish(self, *, is_news: bool = False) -> None:
        """Shows the figures as they are.

        Args:
            is_news: the last run's report cannot wait.
        """
        write_status(self.status)
        now_s = time.monotonic()
        if is_news or self._written_s is None or now_s - self._written_s > _LAST_RUN_EVERY_S:
            self._written_s = now_s
            self._background.submit(write_last_run, self._last_run())

    def _last_run(self) -> LastRun:
        status = self.status
        is_dynamic = status.target_ms is not None
        return LastRun(
            at=utc_now(),
            model=self._deployment.model,
            deployment=self._deployment.digest,
            vllm_version=self._deployment.vllm_version,
            cpp_chunk_version=__version__,
            chunks="dynamic" if is_dynamic else "fixed",
            reason=None if is_dynamic else self.fixed_because,
            target_ms=status.target_ms,
            median_error=status.median_error,
            measured_steps=status.measured_steps,
            refits=status.refits,
            fallbacks=dict(status.fallbacks),
            profile=status.profile,
            profile_passes=status.profile_passes,
            profile_s=status.profile_s,
        )
