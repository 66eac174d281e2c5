"""Report: lets others see what the engine core does; who asks now, and who asks after it ended."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Final

from cpp_chunk import __version__
from cpp_chunk.attempt import attempt
from cpp_chunk.log import init_logger
from cpp_chunk.records.file_thread import FileThread
from cpp_chunk.records.last_run import LastRun, write_last_run
from cpp_chunk.records.status import write_status
from cpp_chunk.records.utc_time import utc_now

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpp_chunk._core import FitReport, LatencyModel
    from cpp_chunk.records.status import EngineStatus
    from cpp_chunk.report.trace import Trace
    from cpp_chunk.settings.deployment import Deployment

logger = init_logger(__name__)

_LAST_RUN_EVERY_S: Final = 10.0


class RunReport:
    """Has the status file written at each call, and the last run's now and then.

    Each in a thread of its own: they may lie on different disks, and one may hang.

    Args:
        status: the figures; whoever has news writes it in there first.
        deployment: what runs.
        trace: of every step, if the user wants one.
    """

    def __init__(self, status: EngineStatus, deployment: Deployment, trace: Trace) -> None:
        self.status = status
        self.trace = trace
        self.fixed_because: str | None = None
        self._deployment = deployment
        self._status_file = FileThread("the status for the metrics page")
        self._last_run_file = FileThread("the report of this run")
        self._asked_s: float | None = None

    def measured(self, prediction_error: float | None) -> None:
        """A step's times have come in; how far off it was, relatively, if it was predicted."""
        self.status.measured_steps += 1
        if prediction_error is not None:
            self.status.prediction_error_sum += prediction_error
            self.status.prediction_errors += 1

    def calibrated(
        self, models: Sequence[LatencyModel], worst: FitReport, gap_ms: float, num_drifts: int
    ) -> None:
        """Planning uses these models from now on; arguments as `Trace.write_models` has them."""
        if num_drifts > self.status.drifts:
            logger.info("step times have drifted: the models follow")
        self.status.drifts = num_drifts
        self.status.refits += 1
        self.status.mean_relative_error = worst.mean_relative_error
        self.trace.write_models("calibration", models, worst, gap_ms)
        logger.debug(
            "calibrated from %d points: mean error %.1f %%",
            worst.num_points,
            100 * worst.mean_relative_error,
        )

    def distrusted(self, because: str | None) -> None:
        """Chunks are fixed until predictions hold again; None: they hold."""
        self.trace.write("guard", distrust=because)
        self.fixed_because = because
        if because is not None:
            self.status.count_fallback("guard")

    def fell_back(self, reason: str, words: str) -> None:
        """Chunks are fixed from here on. Raises nothing, whatever fails here.

        Args:
            reason: a few words that say what kind of thing it was, for the metric.
            words: what happened.
        """
        attempt(self.trace.write, "fallback", reason=words)
        attempt(self.trace.flush)
        attempt(self.status.count_fallback, reason)
        self.status.target_ms = None
        self.fixed_because = words
        attempt(self.publish, is_news=True)

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
        self.trace.flush()

    def wait(self, timeout_s: float) -> bool:
        """Waits for the files to show what was published; False where one takes longer."""
        files = (self.trace, self._status_file, self._last_run_file)
        return min([file.wait(timeout_s) for file in files])


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
