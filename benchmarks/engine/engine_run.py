"""One real vLLM engine in a process of its own: started by engine_process.py, never by hand.

Reads the settings as its first line of standard input, then one workload a line; answers each line
with one line of JSON. vLLM and its children print where they like, so the answers go to a private
copy of standard output, and everything else to standard error, which the parent points at a log
file.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpp_chunk.report.trace import TRACE_FILE_VARIABLE

from benchmarks.engine.workload import EngineSettings, Round, Workload, WorkloadResult

if TYPE_CHECKING:
    from typing import TextIO

# A step's times reach the engine with later steps' replies: short prompts bring the last ones in.
FLUSH = Workload("flush", (8,), repeats=3, warmups=0)


class TraceReader:
    """Gives the lines that were added to the trace file since the last call."""

    def __init__(self, path: str | None) -> None:
        self._path = Path(path) if path else None
        self._offset = 0

    def new_lines(self) -> tuple[str, ...]:
        """Whole lines only: one that is being written is left for the next call."""
        if self._path is None or not self._path.exists():
            return ()
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return tuple(line for line in whole.decode().splitlines() if line.strip())


def run_workload(llm: Any, workload: Workload, trace: TraceReader) -> WorkloadResult:
    """Run the warm-ups and the rounds of a workload on a `vllm.LLM`."""
    rounds = [
        run_round(llm, workload, index) for index in range(workload.warmups + workload.repeats)
    ]
    for index in range(FLUSH.repeats):
        run_round(llm, FLUSH, index)
    return WorkloadResult(workload.name, tuple(rounds[workload.warmups :]), trace.new_lines())


def run_round(llm: Any, workload: Workload, round_index: int) -> Round:
    """Give all prompts of one round to the engine at once and wait for all of them."""
    from vllm import SamplingParams

    sampling = SamplingParams(max_tokens=workload.max_tokens, temperature=0, ignore_eos=True)
    prompts = [{"prompt_token_ids": ids} for ids in workload.prompts(round_index)]
    start_s = time.monotonic()
    outputs = llm.generate(prompts, sampling, use_tqdm=False)
    end_s = time.monotonic()
    return Round(start_s, end_s, tuple(tuple(o.outputs[0].token_ids) for o in outputs))


def main() -> None:
    """Serve workloads until standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests = sys.stdin
    settings = EngineSettings(**json.loads(requests.readline()))

    from vllm import LLM

    started_s = time.monotonic()
    trace = TraceReader(os.environ.get(TRACE_FILE_VARIABLE))
    llm = LLM(**settings.llm_arguments())
    answer(answers, {"start_up_s": time.monotonic() - started_s, "trace_lines": trace.new_lines()})
    for line in requests:
        data = json.loads(line)
        workload = Workload(**{**data, "prompt_lengths": tuple(data["prompt_lengths"])})
        answer(answers, run_workload(llm, workload, trace).to_json())
    # Without this vLLM leaves its engine to be killed when the interpreter goes.
    llm.llm_engine.engine_core.shutdown()


def answer(answers: TextIO, data: dict[str, Any]) -> None:
    """One line of JSON to the parent."""
    answers.write(json.dumps(data) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
