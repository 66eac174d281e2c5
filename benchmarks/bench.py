"""`make bench`: all figures that the project promises, in one run, to build/bench/result.json.

The engines that fit into memory are all alive at once and take turns, one round each: what this
machine does meanwhile then falls on all of them alike. Those that wait are stopped.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks.calibration.bench import calibration_rows
from benchmarks.engine.engine_process import EngineProcess, EngineRunError
from benchmarks.engine.pipeline_view import steps_of_round
from benchmarks.engine.tiny_model import write_random_weights, write_tiny_model
from benchmarks.engine.trace import read_trace
from benchmarks.engine.workload import EngineSettings, Workload
from benchmarks.engine_figures import model_error
from benchmarks.engine_figures.schedule_overhead import measure_in_subprocess
from benchmarks.engine_figures.ttft_prediction import predicted_ttft_ms
from benchmarks.native.solve_time import binding_solve_us, native_solve_us
from benchmarks.planning.figures import planning_figures
from benchmarks.shared import figures
from benchmarks.shared.figures import UNTUNED_TOKENS, Figure
from benchmarks.shared.figures_table import figures_table, write_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.engine.trace import ModelFit, ProfilePass, Step
    from benchmarks.engine.workload import WorkloadResult
    from benchmarks.shared.figures import EngineKey

COMMAND = "make bench"
LONG_PROMPT_TOKENS = 16384
WAKE_PROMPT_TOKENS = 4096
MIXED_PROMPTS_TOKENS = (8192, 1024, 5120, 3072)
# Beside the long prompt.
PREDICTED_PROMPTS_TOKENS = (4096, 8192, 24576)
GENERATION_PROMPTS_TOKENS = (6000, 2500, 9000)
NUM_GENERATED_TOKENS = 16
# The whole long prompt and some more; small, so that many engines fit into memory.
KV_CACHE_BYTES = 320 << 20
ENGINE_MEMORY_BYTES = 2700 << 20
SPARE_MEMORY_BYTES = 2 << 30

# Neighbours in turn are those that are compared; the last ones may be left for a second group.
ENGINES: tuple[EngineKey, ...] = (
    ("fixed", 1024),
    ("dynamic", 1024),
    ("fixed", 2048),
    ("dynamic", 16384),
    ("fixed", 4096),
    ("dynamic", 4096),
    ("fixed", 512),
    ("fixed", UNTUNED_TOKENS),
)
PREDICTED_ENGINES: tuple[EngineKey, ...] = (
    ("fixed", 1024),
    ("fixed", 4096),
    ("dynamic", 4096),
    ("dynamic", UNTUNED_TOKENS),
)


@dataclass
class EngineRecord:
    """What one engine did in all its turns."""

    ttfts_s: list[float] = field(default_factory=list)
    tokens_per_s: list[float] = field(default_factory=list)
    token_ids: tuple[tuple[int, ...], ...] = ()
    profile_passes: tuple[ProfilePass, ...] = ()
    # Steps of the timed long prompts, turn by turn.
    steps: list[tuple[Step, ...]] = field(default_factory=list)
    # The models in force now.
    fit: ModelFit | None = None
    # By prompt length, turn by turn: predicted before the prompt came, and measured.
    predicted_ttfts_ms: dict[int, list[float]] = field(default_factory=dict)
    measured_ttfts_ms: dict[int, list[float]] = field(default_factory=dict)


def main() -> int:
    """Run the benchmark; returns the exit code: 0 when all figures hold."""
    arguments = parse_arguments()
    console = Console(width=None if sys.stdout.isatty() else 120)
    output: Path = arguments.output
    model = write_tiny_model(output / "model")
    write_random_weights(model)
    rows = [*small_figures(console, model, output), *planning_figures(console, output)]
    started_s = time.monotonic()
    records: dict[EngineKey, EngineRecord] = {}
    try:
        rows = [*calibration_rows(console, output / "calibration"), *rows]
        for group in groups(ENGINES, arguments.engines_at_once or engines_that_fit()):
            records |= run_group(console, group, model, output, arguments.repeats)
    except EngineRunError as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 1
    rows = [*engine_figures(records), *rows]
    write_rows(output / "result.json", rows)
    console.print(figures_table(rows))
    console.print(f"{output}/result.json, engines {time.monotonic() - started_s:.0f} s")
    return 0 if all(row.holds for row in rows) else 1


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="timed rounds after one warm-up")
    parser.add_argument("--output", type=Path, default=Path("build/bench"), metavar="FOLDER")
    parser.add_argument("--engines-at-once", type=int, help="default: as many as memory allows")
    return parser.parse_args()


def engines_that_fit() -> int:
    """How many engines the free memory carries at once."""
    spare_bytes = available_memory_bytes() - SPARE_MEMORY_BYTES
    return max(1, spare_bytes // ENGINE_MEMORY_BYTES)


def available_memory_bytes() -> int:
    """Memory that programs can still have, as Linux reckons it."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return 1024 * int(value.split()[0])
    return 0


def groups(engines: Sequence[EngineKey], at_once: int) -> list[tuple[EngineKey, ...]]:
    """Cut the engines into groups of as many as may be alive together."""
    return [tuple(engines[i : i + at_once]) for i in range(0, len(engines), at_once)]


def run_group(
    console: Console, group: Sequence[EngineKey], model: Path, output: Path, repeats: int
) -> dict[EngineKey, EngineRecord]:
    """Start the engines of a group, then let them take turns."""
    records = {key: EngineRecord() for key in group}
    with ExitStack() as stack:
        engines: dict[EngineKey, EngineProcess] = {}
        for key in group:
            mode, budget_tokens = key
            settings = EngineSettings(
                str(model),
                mode,
                budget_tokens,
                load_format="auto",
                kv_cache_memory_bytes=KV_CACHE_BYTES,
            )
            engine = stack.enter_context(EngineProcess(settings, output))
            console.print(f"starting engine {settings.name}", highlight=False)
            engine.wait_until_ready()
            start_up = read_trace(engine.start_up_trace_lines)
            records[key].profile_passes = start_up.profile_passes
            records[key].fit = start_up.last_model
            engine.pause()
            engines[key] = engine
        for turn in range(repeats + 1):
            is_warm_up = turn == 0
            for key, engine in engines.items():
                engine.resume()
                take_turn(engine, key, records[key], turn, is_warm_up=is_warm_up)
                engine.pause()
                say_turn(console, engine, records[key], turn)
        for engine in engines.values():
            engine.resume()
    return records


def take_turn(
    engine: EngineProcess, key: EngineKey, record: EngineRecord, turn: int, *, is_warm_up: bool
) -> None:
    """One round of each workload. The warm-up is not timed: tokens are generated there."""

    def run(workload: Workload) -> WorkloadResult:
        result = engine.run(workload)
        record.fit = read_trace(result.trace_lines).last_model or record.fit
        return result

    # An engine that was stopped has cold caches, and the system may have taken its pages.
    run(one_round("wake", (WAKE_PROMPT_TOKENS,), turn))
    fit_before_long = record.fit
    long = run(one_round("long", (LONG_PROMPT_TOKENS,), turn))
    mixed_workload = one_round("mixed", MIXED_PROMPTS_TOKENS, turn)
    mixed = run(mixed_workload)
    if is_warm_up:
        generation = one_round(
            "generation", GENERATION_PROMPTS_TOKENS, turn, max_tokens=NUM_GENERATED_TOKENS
        )
        record.token_ids = run(generation).rounds[0].token_ids
        return
    record.ttfts_s.append(long.rounds[0].wall_s)
    record.tokens_per_s.append(mixed_workload.num_prompt_tokens / mixed.rounds[0].wall_s)
    record.steps.append(steps_of_long_prompt(long))
    if key in PREDICTED_ENGINES:
        note_prediction(key, record, LONG_PROMPT_TOKENS, fit_before_long, long)
        for tokens in PREDICTED_PROMPTS_TOKENS:
            fit = record.fit
            result = run(one_round(f"alone-{tokens}", (tokens,), turn))
            note_prediction(key, record, tokens, fit, result)


def note_prediction(
    key: EngineKey, record: EngineRecord, tokens: int, fit: ModelFit | None, result: WorkloadResult
) -> None:
    """Puts a lone prompt's measured time beside what the models before it predict."""
    if fit is None:
        return
    predicted_ms = predicted_ttft_ms(key, fit, record.profile_passes, tokens)
    record.predicted_ttfts_ms.setdefault(tokens, []).append(predicted_ms)
    record.measured_ttfts_ms.setdefault(tokens, []).append(1e3 * result.rounds[0].wall_s)


def one_round(
    name: str, prompt_lengths: tuple[int, ...], turn: int, max_tokens: int = 1
) -> Workload:
    """A workload of one round. Each turn has its own prompts, the same for all engines."""
    return Workload(name, prompt_lengths, repeats=1, warmups=0, max_tokens=max_tokens, seed=turn)


def steps_of_long_prompt(result: WorkloadResult) -> tuple[Step, ...]:
    """The steps of the one round, the flush prompts that follow it left out."""
    return steps_of_round(read_trace(result.trace_lines).steps, result.rounds[0])


def say_turn(console: Console, engine: EngineProcess, record: EngineRecord, turn: int) -> None:
    """One line a turn, so that nobody waits without a sign."""
    if turn == 0:
        console.print(f"  warm-up {engine.settings.name}", highlight=False)
        return
    console.print(
        f"  turn {turn} {engine.settings.name}: TTFT {record.ttfts_s[-1]:.2f} s, "
        f"mixed {record.tokens_per_s[-1]:.0f} tokens/s",
        highlight=False,
    )


def engine_figures(records: dict[EngineKey, EngineRecord]) -> list[Figure]:
    """The rows that come from engines."""
    ttfts_s = {key: record.ttfts_s for key, record in records.items()}
    tokens_per_s = {key: record.tokens_per_s for key, record in records.items()}
    token_ids = {key: record.token_ids for key, record in records.items()}
    return [
        *figures.ttft_figures(ttfts_s, COMMAND),
        *figures.throughput_figures(tokens_per_s, COMMAND),
        model_error_figure(records),
        *prediction_figures(records),
        figures.equality_figure(token_ids, COMMAND),
    ]


def model_error_figure(records: dict[EngineKey, EngineRecord]) -> Figure:
    """Error on steps that were left out of the fit, over the long prompts of dynamic engines.

    Fixed chunks alone carry no fit: they are all of one size.
    """
    errors = {
        key: [error for steps in record.steps for error in model_error.left_out_errors(steps)]
        for key, record in records.items()
        if key[0] == "dynamic"
    }
    everything = [error for some in errors.values() for error in some]
    return Figure(
        "model error on steps not used in the fit, mean",
        statistics.fmean(everything) if everything else float("nan"),
        figures.MAX_MODEL_ERROR,
        COMMAND,
        details={
            f"{mode} {tokens}": model_error.summary(
                records[mode, tokens].profile_passes,
                [step for steps in records[mode, tokens].steps for step in steps],
            )
            for mode, tokens in errors
        },
    )


def prediction_figures(records: dict[EngineKey, EngineRecord]) -> list[Figure]:
    """Predicted time to first token against measured, the worst prompt length of each engine."""
    return [
        figures.prediction_figure(key, record.predicted_ttfts_ms, record.measured_ttfts_ms, COMMAND)
        for key, record in records.items()
        if key in PREDICTED_ENGINES
    ]


def small_figures(console: Console, model: Path, output: Path) -> list[Figure]:
    """The rows that need no engine."""
    console.print("timing schedule() and the solver")
    overhead = measure_in_subprocess(model)
    return [
        Figure(
            "added time in schedule(), one long prefill, us a step",
            overhead.added_us,
            figures.MAX_ADDED_SCHEDULE_US,
            COMMAND,
            details={"vllm_own_us": overhead.own_us, "dynamic_us": overhead.dynamic_us},
        ),
        Figure("native solve, us", native_solve_us(output), figures.MAX_NATIVE_SOLVE_US, COMMAND),
        Figure(
            "solve through the binding, us",
            binding_solve_us(),
            figures.MAX_BINDING_SOLVE_US,
            COMMAND,
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
