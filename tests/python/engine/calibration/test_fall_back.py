"""What goes wrong beside the serving stays there: files, the fall-back itself, and the end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from cpp_chunk.engine.book import StepBook
from cpp_chunk.engine.calibration.feedback import Feedback
from cpp_chunk.engine.calibration.guard import Guard
from cpp_chunk.engine.planner import ServingPlanner
from cpp_chunk.engine.scheduler import DynamicChunkMixin
from cpp_chunk.records.file_thread import FileThread
from cpp_chunk.records.last_run import read_last_run
from cpp_chunk.records.status import EngineStatus, read_status
from cpp_chunk.report.run_report import RunReport
from cpp_chunk.report.trace import Trace
from test_feedback import Bench, measure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WARNING = "the trace cannot be written"


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.DEBUG, logger="vllm")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


class VllmScheduler:
    def __init__(self) -> None:
        self.has_shut_down = False
        self.running: list[Any] = []
        self.waiting: list[Any] = []

    def _try_schedule_encoder_inputs(self, *args: Any) -> tuple[Any, ...]:
        return args

    def update_from_output(self, *_: Any) -> str:
        return "vLLM's"

    def shutdown(self) -> None:
        self.has_shut_down = True


class Scheduler(DynamicChunkMixin, VllmScheduler):
    """The mixin without an engine to start in."""

    def __init__(self, bench: Bench | None) -> None:
        VllmScheduler.__init__(self)
        self.cpp_chunk_book = StepBook() if bench is None else bench.book
        if bench is not None:
            self.cpp_chunk_use(bench.planner, bench.feedback)


class UnsayableError(Exception):
    def __repr__(self) -> str:
        raise ValueError("a bug in an exception of another's")


def fails(*_: Any, **__: Any) -> Any:
    raise UnsayableError


@pytest.mark.parametrize("place", ["/dev/full", "missing/trace.jsonl", "."])
def test_a_trace_that_cannot_be_written_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    """A full disk, a folder that is not there, a folder in the file's place."""
    bench = Bench(tmp_path, monkeypatch, tmp_path / place)
    measure(bench, 40, [1.0])
    assert bench.trace.wait(60)
    assert caplog.text.count(WARNING) == 1
    assert not bench.trace.is_wanted
    assert bench.planner.target_ms is not None
    assert bench.published().fallbacks == {}
    assert bench.published().measured_steps == 40


def test_a_traces_folder_that_vanishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "traces"
    folder.mkdir()
    bench = Bench(tmp_path, monkeypatch, folder / "trace.jsonl")
    measure(bench, 20, [1.0])
    assert len(bench.events()) >= 20
    shutil.rmtree(folder)
    measure(bench, 20, [1.0])
    bench.feedback.ended()
    assert caplog.text.count(WARNING) == 1
    assert bench.planner.target_ms is not None
    assert bench.published().fallbacks == {}
    assert not folder.exists()


CALLEES = {
    f"{owner.__name__}.{name}": (owner, name)
    for owner, name in [
        (ServingPlanner, "forget_models"),
        (Trace, "write"),
        (Trace, "flush"),
        (FileThread, "write"),
        (EngineStatus, "count_fallback"),
        (RunReport, "publish"),
        (Feedback, "fell_back"),
        (logging.Logger, "log"),
        (logging.LoggerAdapter, "error"),
        (logging.LoggerAdapter, "debug"),
    ]
}


@pytest.mark.parametrize("callee", CALLEES)
def test_a_fall_back_does_what_it_can(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, callee: str
) -> None:
    """Each thing that it calls raises in its turn, and the others are called all the same."""
    scheduler = Scheduler(bench)
    monkeypatch.setattr(*CALLEES[callee], fails)
    scheduler.cpp_chunk_fall_back("choosing a chunk", ValueError("oh"))
    assert scheduler._cpp_chunk_chooser is None
    assert scheduler._cpp_chunk_feedback is None
    is_all = callee == "Feedback.fell_back"
    if not (is_all or callee == "ServingPlanner.forget_models"):
        assert bench.planner.target_ms is None
    if not (is_all or callee.startswith(("Trace", "FileThread"))):
        assert bench.events()[-1]["event"] == "fallback"
    if not (is_all or callee in {"RunReport.publish", "FileThread.write"}):
        was_counted = callee != "EngineStatus.count_fallback"
        assert bench.published().fallbacks == ({"choosing a chunk": 1} if was_counted else {})
        assert bench.published().target_ms is None
        run = read_last_run()
        assert run is not None
        assert (run.chunks, run.reason) == ("fixed", "choosing a chunk failed (ValueError('oh'))")
    if callee not in {"Logger.log", "LoggerAdapter.error"}:
        assert caplog.text.count("fixed chunks from here on") == 1


@pytest.mark.parametrize("has_feedback", [True, False])
def test_a_fall_back_survives_when_all_that_it_calls_fails(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, has_feedback: bool
) -> None:
    scheduler = Scheduler(bench if has_feedback else None)
    with monkeypatch.context() as patch:
        for owner, name in CALLEES.values():
            if name != "fell_back":
                patch.setattr(owner, name, fails)
        scheduler.cpp_chunk_fall_back("choosing a chunk", UnsayableError())
    assert scheduler._cpp_chunk_chooser is None


def test_a_fall_back_without_feedback_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tmp_path, monkeypatch)
    written = threading.Event()
    write = FileThread.write

    def noted(thread: FileThread, job: Any) -> None:
        write(thread, job)
        assert thread.wait(60)
        written.set()

    monkeypatch.setattr(FileThread, "write", noted)
    Scheduler(None).cpp_chunk_fall_back("starting up", UnsayableError())
    assert written.is_set()
    assert read_status(bench.status_path).fallbacks == {"starting up": 1}
    assert "starting up failed (UnsayableError): fixed chunks from here on" in caplog.text


def test_encoder_inputs_in_another_shape_are_handed_on(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler(bench)
    request: Any = object()
    for _ in range(2):
        scheduler._cpp_chunk_answered = (request, 512, 0)
        # vLLM's answer is what it was asked: here there is no second value in it.
        assert scheduler._try_schedule_encoder_inputs(request) == (request,)
        assert scheduler._cpp_chunk_chooser is None
    assert caplog.text.count("fixed chunks from here on") == 1
    assert list(bench.published().fallbacks) == ["hearing what images leave of a chunk"]


@pytest.mark.parametrize(
    ("owner", "name"), [(StepBook, "left"), (ServingPlanner, "left"), (Feedback, "processed")]
)
def test_an_answer_that_cannot_be_booked_is_vllms_all_the_same(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    owner: type[Any],
    name: str,
) -> None:
    scheduler = Scheduler(bench)
    bench.step(512)
    [booked] = bench.book._in_flight.values()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fails)
        for _ in range(2):
            assert scheduler.update_from_output(booked.output) == "vLLM's"
            assert scheduler._cpp_chunk_chooser is None
    assert caplog.text.count("fixed chunks from here on") == 1
    assert sum(bench.published().fallbacks.values()) == 1


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Feedback, "ended"),
        (Trace, "flush"),
        (Trace, "wait"),
        (RunReport, "publish"),
        (RunReport, "wait"),
        (Guard, "median_error"),
        (ThreadPoolExecutor, "shutdown"),
        (logging.LoggerAdapter, "debug"),
    ],
)
def test_the_end_is_vllms_whatever_fails(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, owner: type[Any], name: str
) -> None:
    scheduler = Scheduler(bench)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, property(fails) if name == "median_error" else fails)
        scheduler.shutdown()
    assert scheduler.has_shut_down


def test_samples_do_not_pile_up_while_a_refit_waits(bench: Bench) -> None:
    goes_on = threading.Event()
    bench.background.submit(goes_on.wait)
    measure(bench, 1000, [1.0])
    num_waiting = len(bench.refits._waiting)
    assert num_waiting <= 200
    assert bench.refits._under_way is not None
    assert bench.status.measured_steps == 1000
    # Those of the refit that waits are neither.
    assert bench.status.skipped_steps == {"waited too long for a refit": 1000 - 8 - num_waiting}
    goes_on.set()
    bench.wait_for_refit()
    bench.feedback.processed(idle=False)
    assert bench.status.refits == 1


class HungHome:
    """The disk that keeps what must outlive a crash; the others go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.goes_on = threading.Event()
        self.num_writes = 0
        self._fsync = os.fsync
        monkeypatch.setattr("os.fsync", self.fsync)

    def fsync(self, descriptor: int) -> None:
        self.num_writes += 1
        assert self.goes_on.wait(60)
        self._fsync(descriptor)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[HungHome]:
    home = HungHome(monkeypatch)
    yield home
    home.goes_on.set()


def test_a_hung_home_directory_holds_nothing_else_up(bench: Bench, home: HungHome) -> None:
    for number in range(64):
        measure(bench, 1, [1.0])
        bench.feedback._publish(is_news=True)
        if number % 8 == 7:
            bench.wait_for_refit()
    bench.feedback.processed(idle=False)
    assert bench.status.refits == 8
    assert len(bench.events()) == 64 + 8
    assert bench.report._status_file.wait(60)
    assert read_status(bench.status_path).measured_steps == 64
    scheduler = Scheduler(bench)
    scheduler.shutdown()
    assert scheduler.has_shut_down
    assert read_last_run() is None
    # It comes back: what is written is the newest, and nothing had queued up.
    home.goes_on.set()
    assert bench.report.wait(60)
    run = read_last_run()
    assert run is not None
    assert run.measured_steps == 64
    assert home.num_writes == 2


def test_a_hung_trace_ends_and_holds_nothing_else_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    bench = Bench(tmp_path, monkeypatch, pipe)
    # Nobody reads from the pipe: opening it waits for good.
    measure(bench, 100, [1.0])
    assert not bench.trace.wait(0)
    for _ in range(10_000):
        bench.trace.write("step")
    assert caplog.text.count("the trace ends") == 1
    assert not bench.trace.is_wanted
    assert len(bench.trace._lines) <= 5000
    measure(bench, 10, [1.0])
    assert bench.planner.target_ms is not None
    assert bench.published().fallbacks == {}
    bench.feedback.ended()
    # Somebody reads after all: the thread goes on, and writes what was there until then.
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    read = b""
    while not bench.trace.wait(0.01):
        with contextlib.suppress(BlockingIOError):
            read += os.read(reader, 1 << 16)
    read += os.read(reader, 1 << 16)
    os.close(reader)
    assert 4096 <= len([json.loads(line) for line in read.splitlines()]) < 5000


def test_a_report_that_cannot_be_kept_is_said_once(
    bench: Bench, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file in the folder's place")
    for _ in range(3):
        bench.feedback._publish(is_news=True)
        assert bench.report.wait(60)
    assert caplog.text.count("the report of this run cannot be written") == 1


def test_figures_that_are_none_end_no_serving(bench: Bench) -> None:
    """The report is strict, and made beside the serving."""
    bench.status.profile_s = float("nan")
    bench.feedback._publish(is_news=True)
    assert bench.published().measured_steps == 0
    assert read_last_run() is None
