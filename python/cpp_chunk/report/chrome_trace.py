"""Simulated pipelines as trace events, for Perfetto (ui.perfetto.dev) and chrome://tracing.

The format: "Trace Event Format", JSON object form; a process a policy, a thread a stage, a
complete event ("X") a step. Times of the format are microseconds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from cpp_chunk._core import SimulatedStep

_US_FROM_MS = 1e3


def trace_events(
    steps_by_policy: Mapping[str, Sequence[SimulatedStep]],
) -> Iterator[dict[str, Any]]:
    """The events: first the names of processes and threads, then the steps.

    Args:
        steps_by_policy: recorded steps under each policy's name.
    """
    for process, (policy, steps) in enumerate(steps_by_policy.items(), start=1):
        num_stages = len(steps[0].stage_spans_ms) if steps else 0
        yield _metadata("process_name", process, 0, {"name": policy})
        yield _metadata("process_sort_index", process, 0, {"sort_index": process})
        for stage in range(num_stages):
            yield _metadata("thread_name", process, stage, {"name": f"stage {stage}"})
            yield _metadata("thread_sort_index", process, stage, {"sort_index": stage})
        for index, step in enumerate(steps):
            chunks = [
                {
                    "request": request,
                    "num_tokens": num_tokens,
                    "num_computed_tokens": num_computed_tokens,
                }
                for request, num_tokens, num_computed_tokens in step.chunks
            ]
            num_tokens = sum(chunk["num_tokens"] for chunk in chunks)
            for stage, (start_ms, end_ms) in enumerate(step.stage_spans_ms):
                yield {
                    "name": f"{num_tokens} tokens",
                    "cat": "step",
                    "ph": "X",
                    "ts": start_ms * _US_FROM_MS,
                    "dur": (end_ms - start_ms) * _US_FROM_MS,
                    "pid": process,
                    "tid": stage,
                    "args": {"step": index, "num_tokens": num_tokens, "chunks": chunks},
                }


def write_trace(path: Path, steps_by_policy: Mapping[str, Sequence[SimulatedStep]]) -> None:
    """Writes the events as one JSON object, an event a line.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("w", encoding="utf-8") as file:
        file.write('{"displayTimeUnit": "ms", "traceEvents": [')
        separator = "\n"
        for event in trace_events(steps_by_policy):
            file.write(separator + json.dumps(event))
            separator = ",\n"
        file.write("\n]}\n")


def _metadata(name: str, process: int, thread: int, args: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "ph": "M", "pid": process, "tid": thread, "args": args}
