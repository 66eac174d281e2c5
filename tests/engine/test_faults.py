"""A stage that fails while profiling: the server serves, with fixed chunks, after one warning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.engine_faults import engine_log

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

# More than the profile lets a pass take.
HANG_S = "31"
# A worker that is not gone by then hangs, however busy the machine.
SHUTDOWN_S = "60"
# Faults and what the warning says of them.
FAULTS = {
    "raise-inside:0:3": "a pass failed on stage 0: RuntimeError: a fault put in by the test",
    "raise:1:1": "a pass failed on stage 1: RuntimeError: a fault put in by the test",
    "nan:0:4": "stage 0 timed pass 4 as nan ms",
    "nan:1:1": "stage 1 timed pass 1 as nan ms",
    "hang:0:3": "took longer than 30 s",
}


@pytest.fixture(scope="module")
def run(
    run_script: Callable[..., subprocess.CompletedProcess[str]], model_with_weights: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_script(
            "benchmarks/engine_faults/fault_script.py",
            *arguments,
            other_model=model_with_weights,
            VLLM_WORKER_SHUTDOWN_TIMEOUT_SECONDS=SHUTDOWN_S,
            **environment,
        )

    return run


@pytest.fixture(scope="module")
def answers(run: Callable[..., subprocess.CompletedProcess[str]]) -> list[list[list[int]]]:
    """What the model says without our plugin."""
    answers: list[list[list[int]]] = engine_log.facts(run("plain"))["answers"]
    tokens = {token for some in answers for answer in some for token in answer}
    assert len(tokens) > 4
    return answers


def check_nothing_is_left(facts: dict[str, Any], log: str, answers: list[list[list[int]]]) -> None:
    assert facts["profile"]["after"] == facts["profile"]["before"]
    assert facts["answers"] == answers
    assert facts["lost_blocks"] == 0
    assert "workers still running after grace period" not in log


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_means_fixed_chunks_and_one_warning(
    run: Callable[..., subprocess.CompletedProcess[str]],
    answers: list[list[list[int]]],
    fault: str,
) -> None:
    done = run(CPP_CHUNK_TEST_FAULT=fault, CPP_CHUNK_TEST_HANG_S=HANG_S)
    facts, log = engine_log.facts(done), done.stdout + done.stderr
    [warning] = engine_log.warnings(log)
    assert FAULTS[fault] in warning
    assert "fixed chunks until served steps carry a fit" in warning
    assert facts["target_ms"] is None
    check_nothing_is_left(facts, log, answers)


def test_one_slow_pass_is_an_outlier(
    run: Callable[..., subprocess.CompletedProcess[str]], answers: list[list[list[int]]]
) -> None:
    # Step 1 is the warm-up, which is not measured.
    done = run(CPP_CHUNK_TEST_FAULT="slow-step:0:2:30")
    facts, log = engine_log.facts(done), done.stdout + done.stderr
    _, (slow_ms, other_ms), *_ = facts["profile"]["stage_ms"]
    assert slow_ms > 5 * other_ms
    assert "the start-up profile failed" not in log
    assert facts["target_ms"] > 0
    check_nothing_is_left(facts, log, answers)


def test_a_timer_that_cannot_be_read_harms_nobody(
    run: Callable[..., subprocess.CompletedProcess[str]],
    answers: list[list[list[int]]],
    tmp_path: Path,
) -> None:
    done = run(CPP_CHUNK_TEST_FAULT="unreadable:0", CPP_CHUNK_TEST_SWITCH=str(tmp_path / "switch"))
    facts, log = engine_log.facts(done), done.stdout + done.stderr
    [warning] = engine_log.warnings(log)
    assert "collecting step times failed" in warning
    assert "fixed chunks from here on" in warning
    check_nothing_is_left(facts, log, answers)
