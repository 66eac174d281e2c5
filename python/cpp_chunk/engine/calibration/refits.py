"""Refits beside the serving: they take longer than a step may be kept waiting for."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Final

from cpp_chunk._core import FitRefused
from cpp_chunk.log import init_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future, ThreadPoolExecutor

    from cpp_chunk.engine.stage_fits import StageCalibrators, StageFits, StepSample

logger = init_logger(__name__)

_REFIT_EVERY_SAMPLES = 8
# As many as the calibrators remember: of more, a refit would forget the older ones at once.
_MAX_WAITING_SAMPLES: Final = 128


class Refits:
    """Samples that wait for a refit, and the one refit that is under way.

    Args:
        calibrators: fit profile and recent steps, stage by stage.
        background: one thread.
        skipped: told of steps that are left out: why, and how many.
    """

    def __init__(
        self,
        calibrators: StageCalibrators,
        background: ThreadPoolExecutor,
        skipped: Callable[[str, int], None],
    ) -> None:
        self._calibrators = calibrators
        self._background = background
        self._skipped = skipped
        self._waiting: collections.deque[StepSample] = collections.deque()
        self._under_way: Future[StageFits] | None = None
        self._num_unusable = 0
        self._was_refused = False

    @property
    def num_drifts(self) -> int:
        """How often the steps of a stage drifted from its model, and it followed."""
        return self._calibrators.num_drifts

    def add(self, sample: StepSample) -> None:
        """Takes a step; of those that wait for too long, the oldest goes."""
        if len(self._waiting) == _MAX_WAITING_SAMPLES:
            self._waiting.popleft()
            self._skipped("waited too long for a refit", 1)
        self._waiting.append(sample)

    def start(self) -> None:
        """Begins a refit if enough samples have come together and none is under way."""
        if self._under_way is None and len(self._waiting) >= _REFIT_EVERY_SAMPLES:
            samples = list(self._waiting)
            self._waiting.clear()
            self._under_way = self._background.submit(self._calibrators.update, samples)

    def take(self) -> StageFits | None:
        """What the refit has come to, once; None while there is none, or where it was refused."""
        if self._under_way is None or not self._under_way.done():
            return None
        refit, self._under_way = self._under_way, None
        num_before, self._num_unusable = self._num_unusable, self._calibrators.num_rejected
        self._skipped("unusable time", self._num_unusable - num_before)
        try:
            return refit.result()
        except FitRefused as error:
            if not self._was_refused:
                logger.info("calibration keeps the models as they are: %s", error)
            self._was_refused = True
            return None

    def end(self) -> None:
        """Begins none any more; does not wait for the one under way."""
        self._background.shutdown(wait=False)
