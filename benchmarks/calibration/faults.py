"""What a start-up profile leaves behind, when all goes well and when a worker fails: rows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.calibration.figures import calibration_row
from benchmarks.engine.engine_process import cpu_engine_environment
from benchmarks.engine.tiny_model import TinyModelShape, write_random_weights, write_tiny_model
from benchmarks.engine_faults import engine_log

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from benchmarks.shared.figures import Figure

SHAPE = TinyModelShape(num_layers=4)
FAULTS = {
    "raises on the first stage": "raise-inside:0:3",
    "raises on the last stage": "raise:1:3",
    "returns NaN": "nan:1:4",
    "hangs for 60 s": "hang:0:3",
}
HANG_S = "60"
TIMEOUT_S = 400


def fault_figures(console: Console, output: Path) -> list[Figure]:
    """One row without a fault and one for each fault: how many conditions are violated."""
    model = write_tiny_model(output / "faults" / "model", SHAPE)
    write_random_weights(model, SHAPE)
    answers = engine_log.facts(run(model, output, "plain"))["answers"]
    rows = [undisturbed_figure(run(model, output), answers)]
    for name, fault in FAULTS.items():
        done = run(model, output, CPP_CHUNK_TEST_FAULT=fault, CPP_CHUNK_TEST_HANG_S=HANG_S)
        rows.append(fault_figure(name, done, answers))
        console.print(f"  {rows[-1].figure}: {rows[-1].value:g}", highlight=False)
    return rows


def run(
    model: Path, output: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """One engine, which profiles, answers and ends."""
    cache_dir = output / "faults" / "cache"
    shutil.rmtree(cache_dir, ignore_errors=True)
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", "benchmarks.engine_faults.fault_script", str(model), *arguments],
        env={
            **os.environ,
            **cpu_engine_environment(2),
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "CPP_CHUNK_CACHE_DIR": str(cache_dir.resolve()),
            # A worker that is not gone by then hangs, however busy the machine.
            "VLLM_WORKER_SHUTDOWN_TIMEOUT_SECONDS": "60",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )


def undisturbed_figure(done: subprocess.CompletedProcess[str], answers: object) -> Figure:
    """Free KV blocks, prefix entries and requests around a profile without a fault."""
    facts = engine_log.facts(done)
    before, after = facts["profile"]["before"], facts["profile"]["after"]
    return calibration_row(
        "KV blocks, prefix-cache entries, requests: differing before and after profiling",
        sum(before[name] != after[name] for name in before) + (facts["answers"] != answers),
        0,
        {f"{name} after {facts['profile']['num_passes']} passes": after[name] for name in after},
    )


def fault_figure(name: str, done: subprocess.CompletedProcess[str], answers: object) -> Figure:
    """What does not hold after a fault."""
    facts, log = engine_log.facts(done), done.stdout + done.stderr
    warnings = engine_log.warnings(log)
    violated = {
        "chunks are not fixed": facts["target_ms"] is not None,
        "not one warning": len(warnings) != 1,
        "cache or requests differ": facts["profile"]["after"] != facts["profile"]["before"],
        "blocks lost while serving": facts["lost_blocks"] != 0,
        "answers differ": facts["answers"] != answers,
        "a rank hangs": "workers still running after grace period" in log,
    }
    return calibration_row(
        f"a worker {name} while profiling: conditions violated",
        sum(violated.values()),
        0,
        violated,
        warnings=warnings,
    )
