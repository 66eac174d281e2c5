"""Files written beside the engine: a disk that is slow, full or gone holds no step up."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from cpp_chunk.attempt import attempt
from cpp_chunk.log import init_logger

if TYPE_CHECKING:
    from collections.abc import Callable

logger = init_logger(__name__)

# A thread without work ends, so that engines which come and go in one process leave none behind.
_LINGER_S: Final = 10.0


class FileThread:
    """Writes one file, in a thread of its own that a hung disk may keep for good.

    While one write is under way, only the newest of those that come is kept for afterwards. Neither
    a write that fails nor one that never ends is an error for who asked for it: the first failure
    gets a warning. The interpreter ends without waiting for the thread.

    Args:
        what: the file, in words.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._changed = threading.Condition()
        self._next: Callable[[], object] | None = None
        self._is_writing = False
        self._thread: threading.Thread | None = None
        self.has_failed = False

    def write(self, job: Callable[[], object]) -> None:
        """Has the file written by this call, as soon as the write before it has ended."""
        with self._changed:
            self._next = job
            if self._thread is not None:
                self._changed.notify_all()
                return
            try:
                self._thread = threading.Thread(
                    target=self._run, name="cpp-chunk-file", daemon=True
                )
                self._thread.start()
            except RuntimeError as error:
                # The process has as many threads as it may have.
                self._thread = self._next = None
                self._failed(error)

    def wait(self, timeout_s: float) -> bool:
        """Waits until all is written; False where that takes longer than this."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._next is None and not self._is_writing, timeout_s
            )

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._next is not None, _LINGER_S)
                if self._next is None:
                    self._thread = None
                    return
                job, self._next = self._next, None
                self._is_writing = True
            try:
                job()
            except Exception as error:  # noqa: BLE001 - a file is never a reason to stop serving
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        if not self.has_failed:
            self.has_failed = True
            attempt(logger.warning, "%s cannot be written: %s", self._what, error, stacklevel=2)
