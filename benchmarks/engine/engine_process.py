"""The parent's side of engine_run.py: starts an engine, hands it workloads, shows why it failed."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cpp_chunk.records.cache_dir import CACHE_DIR_VARIABLE
from cpp_chunk.report.trace import TRACE_FILE_VARIABLE

from benchmarks.engine.workload import EngineSettings, Workload, WorkloadResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

START_TIMEOUT_S = 300.0
WORKLOAD_TIMEOUT_S = 600.0
SHUTDOWN_TIMEOUT_S = 30.0
# How often a waiting caller is told that time passes.
TICK_S = 0.25
# vLLM's last lines are often its front end giving up; what went wrong stands at its first error.
NUM_FIRST_ERROR_LINES = 20
NUM_LAST_LINES = 20


class EngineRunError(RuntimeError):
    """An engine did not start, died, or took too long. The message shows the end of its log."""


def cpu_engine_environment(num_stages: int) -> dict[str, str]:
    """This process's environment, and what gives each stage of a CPU engine a core of its own."""
    cores = sorted(os.sched_getaffinity(0))
    # With fewer cores than stages some share one: slow, but it runs.
    bind = "|".join(str(cores[stage % len(cores)]) for stage in range(num_stages))
    return {
        **os.environ,
        "VLLM_CPU_OMP_THREADS_BIND": bind,
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        "VLLM_LOGGING_LEVEL": "INFO",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }


class EngineProcess:
    """One engine in a fresh process, as a context manager."""

    def __init__(
        self,
        settings: EngineSettings,
        log_dir: Path,
        on_tick: Callable[[], None] | None = None,
        environment: dict[str, str] | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        """Start the process; `wait_until_ready` waits for the engine.

        Args:
            settings: the engine.
            log_dir: gets the log and the trace, named after the settings.
            on_tick: called a few times a second while the engine is waited for.
            environment: further environment variables.
            cache_dir: what is remembered between engines; by default nothing is.
        """
        log_dir.mkdir(parents=True, exist_ok=True)
        if cache_dir is None:
            cache_dir = log_dir / f"{settings.name}.cache"
            shutil.rmtree(cache_dir, ignore_errors=True)
        self.settings = settings
        self.log_path = log_dir / f"{settings.name}.log"
        self.trace_path = log_dir / f"{settings.name}.trace.jsonl"
        self.trace_path.unlink(missing_ok=True)
        self.start_up_s: float | None = None
        self.start_up_trace_lines: tuple[str, ...] = ()
        self._on_tick = on_tick or (lambda: None)
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.engine.engine_run"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={
                    **cpu_engine_environment(settings.pipeline_parallel_size),
                    TRACE_FILE_VARIABLE: str(self.trace_path.resolve()),
                    CACHE_DIR_VARIABLE: str(cache_dir.resolve()),
                    **(environment or {}),
                },
                # A group of its own, so that vLLM's children can be ended with it.
                start_new_session=True,
            )
        self._unread = b""
        self._send(asdict(settings))

    def wait_until_ready(self) -> Self:
        """Wait until the engine answers: imports, weights, KV cache, start-up profile."""
        ready = self._receive(START_TIMEOUT_S, "start")
        self.start_up_s = ready["start_up_s"]
        self.start_up_trace_lines = tuple(ready["trace_lines"])
        return self

    def run(self, workload: Workload) -> WorkloadResult:
        """Run one workload and wait for it."""
        self._send(asdict(workload))
        return WorkloadResult.from_json(
            self._receive(WORKLOAD_TIMEOUT_S, f"run workload '{workload.name}'")
        )

    def pause(self) -> None:
        """Stop all of the engine's processes: an idle engine polls, and others are measured."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused engine go on."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """Let the engine end by itself, and end what is left of it."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        deadline_s = time.monotonic() + SHUTDOWN_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline_s:
            self._on_tick()
            time.sleep(TICK_S)
        self._kill_group()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._kill_group()

    def _send(self, data: dict[str, Any]) -> None:
        assert self._process.stdin is not None  # noqa: S101
        try:
            self._process.stdin.write(json.dumps(data).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure("ended before it could be used") from None

    def _receive(self, timeout_s: float, what: str) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101
        descriptor = self._process.stdout.fileno()
        deadline_s = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                self._on_tick()
                if selector.select(timeout=TICK_S):
                    chunk = os.read(descriptor, 1 << 16)
                    if not chunk:
                        raise self._failure(f"could not {what}")
                    self._unread += chunk
                # vLLM's children hold the pipe too: its end alone would not tell of a death.
                elif self._process.poll() is not None:
                    raise self._failure(f"could not {what}")
                elif time.monotonic() > deadline_s:
                    raise self._failure(f"did not {what} within {timeout_s:.0f} s")
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _failure(self, what: str) -> EngineRunError:
        self._kill_group()
        log = self.log_path.read_text(errors="replace")
        shown = "\n".join(f"  | {line}" for line in telling_lines(log.splitlines()))
        return EngineRunError(
            f"The engine '{self.settings.name}' {what}. From its log, {self.log_path}:\n{shown}"
        )

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            # What nobody read any more is of no interest.
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()


def telling_lines(lines: Sequence[str]) -> list[str]:
    """The lines of a log from its first error on, and its last ones."""
    first_error = next((i for i, line in enumerate(lines) if " ERROR " in line), None)
    if first_error is None:
        return list(lines[-NUM_LAST_LINES:])
    end_of_error = min(first_error + NUM_FIRST_ERROR_LINES, len(lines))
    start_of_last = max(end_of_error, len(lines) - NUM_LAST_LINES)
    between = ["..."] if end_of_error < start_of_last else []
    return [*lines[first_error:end_of_error], *between, *lines[start_of_last:]]
