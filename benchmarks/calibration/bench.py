"""Runs the engines behind the calibration's figures: part of `make bench`, or alone.

`python -m benchmarks.calibration.bench` prints these rows only.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks.calibration import figures
from benchmarks.calibration.bad_profiles import bad_profile_figure
from benchmarks.calibration.faults import fault_figures
from benchmarks.calibration.lazy_receive import lazy_receive_figure
from benchmarks.calibration.model_zoo import write_zoo_model, zoo_llm_arguments
from benchmarks.engine.engine_process import EngineProcess
from benchmarks.engine.trace import read_trace
from benchmarks.engine.workload import EngineSettings, Workload
from benchmarks.native.refit_time import native_refit_us
from benchmarks.shared.figures_table import figures_table, write_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.engine.trace import Step
    from benchmarks.shared.figures import Figure

MODELS = tuple(figures.MAX_PROFILE_ERROR)
DENSE = ("dense", "dense-wide")
BUDGET_TOKENS = 4096
MAX_MODEL_LEN = 32768
KV_CACHE_BYTES = 320 << 20
# Short and long, alone and together: sizes and histories that no profile has.
ALONE = Workload("alone", (1500,), repeats=1, warmups=0)
LENGTHS = (12000, 3300, 20000, 7700)
TOGETHER = (5000, 9000, 2500, 14000)
LONG = Workload("long", (8192,), repeats=10, warmups=0)
SHORT = Workload("short", (8,), repeats=3, warmups=0)
NUM_STARTS = 2
NUM_PAIRS = 3
# One request, whose steps follow each other: of several, how they share steps would be measured.
DECODES = Workload("decodes", (64,), repeats=1, warmups=0, max_tokens=500)
NUM_DECODE_TURNS = 7


def main() -> int:
    """Run these figures alone; returns the exit code: 0 when all hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calibration.bench")
    parser.add_argument("--output", type=Path, default=Path("build/calibration"), metavar="FOLDER")
    parser.add_argument("--only", nargs="*", default=[], metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--models", nargs="*", default=MODELS, metavar="MODEL")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    rows = calibration_rows(console, arguments.output, only=arguments.only, models=arguments.models)
    write_rows(arguments.output / "result.json", rows)
    console.print(figures_table(rows))
    return 0 if all(row.holds for row in rows) else 1


def calibration_rows(
    console: Console, output: Path, only: Sequence[str] = (), models: Sequence[str] = MODELS
) -> list[Figure]:
    """All rows, group by group."""
    rows: list[Figure] = []
    for name, group in GROUPS.items():
        if not only or name in only:
            begun_s = time.monotonic()
            console.print(f"calibration: {name}", highlight=False)
            rows += (
                error_rows(console, output, models) if name == "errors" else group(console, output)
            )
            console.print(f"  {time.monotonic() - begun_s:.0f} s", highlight=False)
    return rows


def settings_of(output: Path, model: str, **changes: object) -> EngineSettings:
    """An engine of one of the zoo's models."""
    folder = write_zoo_model(output / "models" / model, model)
    settings = EngineSettings(
        str(folder),
        "dynamic",
        BUDGET_TOKENS,
        max_model_len=MAX_MODEL_LEN,
        kv_cache_memory_bytes=KV_CACHE_BYTES,
        extra_llm_arguments=zoo_llm_arguments(model),
    )
    return replace(settings, **changes)  # type: ignore[arg-type]


def error_rows(console: Console, output: Path, models: Sequence[str] = MODELS) -> list[Figure]:
    """What is predicted against what is measured, model by model."""
    rows: list[Figure] = []
    for model in models:
        settings = settings_of(output, model)
        with EngineProcess(settings, output / model) as engine:
            start = read_trace(engine.wait_until_ready().start_up_trace_lines)
            steps = served_steps(engine, until=100)
            rows.append(figures.profile_error_figure(model, start, steps))
            if model in DENSE:
                steps += served_steps(engine, until=200, first_round=10)
                rows.append(figures.served_error_figure(model, steps))
        for row in rows[-2:] if model in DENSE else rows[-1:]:
            console.print(f"  {row.figure}: {row.value:.3f}", highlight=False)
    return rows


def served_steps(engine: EngineProcess, until: int, first_round: int = 0) -> list[Step]:
    """Serves prompts, alone and together, until there are so many steps with prefill in them."""
    steps: list[Step] = []
    for number in itertools.count(first_round):
        lengths = (LENGTHS[number % len(LENGTHS)],) if number % 3 else TOGETHER
        workload = replace(ALONE, prompt_lengths=lengths, seed=number, max_tokens=8)
        found = read_trace(engine.run(workload).trace_lines).steps
        # The prompts that flush the times out are not among them, nor are decodes alone.
        steps += [step for step in found if step.num_tokens > 16]
        if len(steps) >= until:
            return steps
    return steps


def start_rows(console: Console, output: Path) -> list[Figure]:
    """First and remembered starts, and the prompts right after each."""
    settings = settings_of(output, "dense")
    passes: dict[str, list[int]] = {"first": [], "remembered": []}
    seconds: dict[str, list[float]] = {"first": [], "remembered": []}
    ttfts_s = []
    for start in range(NUM_STARTS):
        cache_dir = output / "starts" / f"cache-{start}"
        shutil.rmtree(cache_dir, ignore_errors=True)
        for kind in ("first", "remembered"):
            log_dir = output / "starts" / kind
            with EngineProcess(settings, log_dir, cache_dir=cache_dir) as engine:
                trace = read_trace(engine.wait_until_ready().start_up_trace_lines)
                assert trace.start is not None  # noqa: S101
                # A noisy minute may have had the old profile taken anew: then it is no such start.
                source = {"measured": "first", "remembered": "remembered"}[trace.start.source]
                passes[source].append(trace.start.num_passes)
                seconds[source].append(trace.start.seconds)
                if kind == "first":
                    ttfts_s.append([one.wall_s for one in engine.run(LONG).rounds])
        console.print(
            f"  start {start}: first / tenth {ttfts_s[-1][0] / ttfts_s[-1][9]:.3f}", highlight=False
        )
    return [*figures.start_figures(passes, seconds), figures.first_prompt_figure(ttfts_s)]


def drift_rows(console: Console, output: Path) -> list[Figure]:
    """All steps of both stages take half as long again, from one moment on."""
    switch = (output / "drift.switch").resolve()
    switch.unlink(missing_ok=True)
    settings = settings_of(output, "dense")
    settings = replace(
        settings,
        extra_llm_arguments=settings.extra_llm_arguments
        | {"worker_extension_cls": "benchmarks.engine_faults.faulty_worker.FaultyWorker"},
    )
    environment = {
        "CPP_CHUNK_TEST_FAULT": f"slow:all:{figures.DRIFT_FACTOR}",
        "CPP_CHUNK_TEST_SWITCH": str(switch),
    }
    with EngineProcess(settings, output / "drift", environment=environment) as engine:
        engine.wait_until_ready()
        served_steps(engine, until=60)
        switch.touch()
        start_s = time.monotonic()
        steps = served_steps(engine, until=figures.NUM_DRIFT_STEPS + 100, first_round=10)
    row = figures.drift_figure(steps, start_s)
    console.print(f"  {row.figure}: {row.value:.3f}", highlight=False)
    return [row]


def short_rows(console: Console, output: Path) -> list[Figure]:
    """Two engines of one remembered profile; one answers short requests before the long prompt."""
    settings = settings_of(output, "dense")
    cache_dir = output / "short" / "cache"
    shutil.rmtree(cache_dir, ignore_errors=True)
    with EngineProcess(settings, output / "short" / "first", cache_dir=cache_dir) as engine:
        engine.wait_until_ready()
    ratios = []
    for pair in range(NUM_PAIRS):
        with ExitStack() as stack:
            engines = {}
            for kind in ("without", "after"):
                log_dir = output / "short" / kind
                engine = EngineProcess(settings, log_dir, cache_dir=cache_dir)
                engines[kind] = stack.enter_context(engine)
                engine.wait_until_ready()
                engine.pause()
            ttfts_s = {}
            for kind in ("without", "after") if pair % 2 else ("after", "without"):
                engines[kind].resume()
                if kind == "after":
                    engines[kind].run(SHORT)
                long = engines[kind].run(replace(LONG, repeats=1, seed=pair))
                ttfts_s[kind] = long.rounds[0].wall_s
                engines[kind].pause()
            for engine in engines.values():
                engine.resume()
        ratios.append(ttfts_s["after"] / ttfts_s["without"])
        console.print(f"  pair {pair}: {ratios[-1]:.3f}", highlight=False)
    return [figures.after_short_figure(ratios)]


def timer_rows(console: Console, output: Path) -> list[Figure]:
    """Decodes of a small request, with and without step times, in turns."""
    walls_s: dict[bool, list[float]] = {True: [], False: []}
    with ExitStack() as stack:
        engines = {}
        for need_timing in (True, False):
            settings = settings_of(output, "dense", need_timing=need_timing)
            log_dir = output / "timers" / str(need_timing)
            engine = stack.enter_context(EngineProcess(settings, log_dir))
            engine.wait_until_ready()
            engine.run(replace(DECODES, max_tokens=50))
            engine.pause()
            engines[need_timing] = engine
        for turn in range(NUM_DECODE_TURNS):
            for need_timing in (True, False) if turn % 2 else (False, True):
                engine = engines[need_timing]
                engine.resume()
                # What a stopped engine has lost, it has again after a few steps.
                engine.run(replace(DECODES, max_tokens=20, seed=turn))
                result = engine.run(replace(DECODES, seed=turn))
                walls_s[need_timing].append(result.rounds[0].wall_s)
                engine.pause()
            console.print(
                f"  turn {turn}: {walls_s[True][-1] / walls_s[False][-1]:.3f}", highlight=False
            )
        for engine in engines.values():
            engine.resume()
    return [figures.timer_cost_figure(walls_s[True], walls_s[False], DECODES.max_tokens)]


# The quick ones first.
GROUPS: dict[str, Callable[[Console, Path], list[Figure]]] = {
    "refit": lambda _, output: [figures.refit_figure(native_refit_us(output))],
    "files": lambda _, output: [bad_profile_figure(output / "bad_profiles")],
    "receive": lambda console, _: [lazy_receive_figure(console)],
    "drift": drift_rows,
    "timers": timer_rows,
    "faults": fault_figures,
    "short": short_rows,
    "starts": start_rows,
    "errors": error_rows,
}


if __name__ == "__main__":
    sys.exit(main())
