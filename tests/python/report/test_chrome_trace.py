"""Trace files: the structure that Perfetto and chrome://tracing read."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import pytest
from command import KIMI, run
from cpp_chunk import FixedPolicy, LatencyModel, SimulatedPipeline, SimulatedRequest, simulate
from cpp_chunk.report.chrome_trace import trace_events

if TYPE_CHECKING:
    from pathlib import Path

MODEL = LatencyModel(quadratic=0, cross=0, linear=0.01, context=0, constant=1)


def test_events_of_a_hand_computed_pipeline() -> None:
    pipeline = SimulatedPipeline([MODEL] * 2, max_num_batched_tokens=100)
    requests = [SimulatedRequest(150)]
    steps = simulate(pipeline, requests, FixedPolicy(100), record_steps=True).steps
    events = list(trace_events({"fixed=100": steps}))
    names = [event for event in events if event["ph"] == "M"]
    assert [(e["name"], e["tid"], e["args"]) for e in names] == [
        ("process_name", 0, {"name": "fixed=100"}),
        ("process_sort_index", 0, {"sort_index": 1}),
        ("thread_name", 0, {"name": "stage 0"}),
        ("thread_sort_index", 0, {"sort_index": 0}),
        ("thread_name", 1, {"name": "stage 1"}),
        ("thread_sort_index", 1, {"sort_index": 1}),
    ]
    # 100 tokens take 2 ms, 50 take 1.5 ms: in microseconds here.
    bars = [(e["tid"], e["ts"], e["dur"]) for e in events if e["ph"] == "X"]
    assert bars == [(0, 0, 2000), (1, 2000, 2000), (0, 2000, 1500), (1, 4000, 1500)]
    last = events[-1]
    assert last["name"] == "50 tokens"
    assert last["args"] == {
        "step": 1,
        "num_tokens": 50,
        "chunks": [{"request": 0, "num_tokens": 50, "num_computed_tokens": 100}],
    }


def test_file_of_two_policies(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    outcome = run(
        *("simulate", *KIMI, "-S", 4, "--prompt-tokens", "uniform:1k-32k", "--requests", 6),
        *("--concurrency", 2, "--output-tokens", 4, "--policy", "dynamic", "--policy", "fixed=4k"),
        *("--trace", path, "--json"),
    )
    num_steps = {run["policy"]: run["num_steps"] for run in outcome.json["policies"]}
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["displayTimeUnit"] == "ms"
    events = document["traceEvents"]
    processes = {
        event["args"]["name"]: event["pid"] for event in events if event["name"] == "process_name"
    }
    assert list(processes) == ["dynamic", "fixed=4096"]
    for policy, process in processes.items():
        bars = [e for e in events if e["ph"] == "X" and e["pid"] == process]
        assert len(bars) == 4 * num_steps[policy.split("=")[0]]
        assert {e["tid"] for e in bars} == {0, 1, 2, 3}
        for stage in range(4):
            lane = sorted((e["ts"], e["dur"]) for e in bars if e["tid"] == stage)
            for (start, length), (following, _) in itertools.pairwise(lane):
                assert start + length <= following + 1e-6
        prompts = sum(
            chunk["num_tokens"] for e in bars if e["tid"] == 0 for chunk in e["args"]["chunks"]
        )
        # Every prompt token, and three decodes for each of six requests.
        assert prompts == outcome.json["prompt_tokens"] + 18


def test_without_steps_there_are_names_only() -> None:
    assert [event["ph"] for event in trace_events({"fixed": []})] == ["M", "M"]


def test_unwritable_file_gets_a_sentence(tmp_path: Path) -> None:
    outcome = run(
        *("simulate", *KIMI, "-S", 2, "--prompt-tokens", "1k", "--requests", 1),
        *("--policy", "fixed=512", "--trace", tmp_path / "none" / "t.json"),
    )
    assert outcome.code == 2
    assert "--trace is" in outcome.err
    assert "allowed is a file that can be written (No such file" in outcome.err


@pytest.mark.parametrize("policy", ["dynamic", "terapipe"])
def test_policies_without_a_base_are_named_alone(tmp_path: Path, policy: str) -> None:
    path = tmp_path / "trace.json"
    outcome = run(
        *("simulate", *KIMI, "-S", 2, "--prompt-tokens", "8k", "--requests", 1),
        *("--policy", policy, "--trace", path),
    )
    assert outcome.code == 0
    first = json.loads(path.read_text(encoding="utf-8"))["traceEvents"][0]
    assert first["args"] == {"name": policy}
