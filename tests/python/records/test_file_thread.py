"""Files written beside the engine: nobody waits for them, nothing queues up, nothing is raised."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from cpp_chunk.records import file_thread
from cpp_chunk.records.file_thread import FileThread

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class Disk:
    """Hangs until it is told to go on."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.is_written_to = threading.Event()
        self.written: list[int] = []

    def write(self, number: int) -> None:
        self.is_written_to.set()
        assert self.goes_on.wait(60)
        self.written.append(number)


def test_while_one_is_under_way_only_the_newest_is_kept() -> None:
    thread, disk = FileThread("the file"), Disk()
    thread.write(lambda: disk.write(0))
    assert disk.is_written_to.wait(60)
    for number in range(1, 6):
        thread.write(lambda number=number: disk.write(number))  # type: ignore[misc]
    assert not thread.wait(0)
    disk.goes_on.set()
    assert thread.wait(60)
    assert disk.written == [0, 5]


def test_a_failure_is_said_once_and_the_next_write_is_made(
    caplog: pytest.LogCaptureFixture,
) -> None:
    thread, written = FileThread("the file"), []

    def fail() -> None:
        raise OSError(28, "No space left on device")

    for job in (fail, fail, lambda: written.append(1)):
        thread.write(job)
        assert thread.wait(60)
    assert thread.has_failed
    assert written == [1]
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "the file cannot be written: [Errno 28] No space left" in record.getMessage()


def test_a_process_without_room_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    thread, written = FileThread("the file"), []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_room)
        thread.write(lambda: written.append(0))
        assert thread.has_failed
        assert thread.wait(60)
    thread.write(lambda: written.append(1))
    assert thread.wait(60)
    assert written == [1]


def test_a_thread_without_work_ends_and_another_takes_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(file_thread, "_LINGER_S", 0.0)
    thread, ran_in = FileThread("the file"), []
    for _ in range(2):
        thread.write(lambda: ran_in.append(threading.current_thread()))
        assert thread.wait(60)
        ran_in[-1].join(60)
        assert not ran_in[-1].is_alive()
    assert ran_in[0] is not ran_in[1]


def test_a_process_ends_while_its_disk_hangs(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    script = (
        "import sys, threading\n"
        "from cpp_chunk.records.file_thread import FileThread\n"
        "hangs = threading.Event()\n"
        "def write():\n"
        "    hangs.set()\n"
        # Nobody reads: this waits for good.
        "    open(sys.argv[1], 'a')\n"
        "FileThread('the file').write(write)\n"
        "assert hangs.wait(60)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(pipe)], check=True, timeout=120)
