"""Looks into one real engine from inside: its core runs in this process, its stages in two more.

Prints one JSON object of facts; the tests beside it say what they must be.
"""

from __future__ import annotations

import json
import os
import random
import sys
from typing import Any

from benchmarks.engine_faults.profile_watch import ProfileWatch

os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
PROMPT_TOKENS = 6000
BUDGET_TOKENS = 4096
# Without a bound a profile taken on a busy machine may ask for chunks as long as the prompt.
MAX_STEP_MS = 30


class BrokenChooser:
    def begin_step(self) -> None: ...

    def set_backlog(self, *backlog: Any) -> None: ...

    def chunk_tokens(
        self, remaining: int, num_computed_tokens: int, max_tokens: int, share: float
    ) -> int:
        raise ZeroDivisionError("a fault put in by the test")

    def add_chunk(self, num_tokens: int, num_computed_tokens: int) -> None: ...

    def add_decodes(
        self, num_decodes: int, num_computed_tokens: int, tokens_each: int = 1
    ) -> None: ...

    def scheduled(self, step_id: int, prefills: Any) -> None: ...

    def left(self, step_id: int) -> None: ...


class Probe:
    def __init__(self, model: str) -> None:
        from vllm import LLM

        self.watch = ProfileWatch()
        self.llm = LLM(
            model,
            load_format="dummy",
            dtype="float32",
            enforce_eager=True,
            pipeline_parallel_size=2,
            max_model_len=16384,
            max_num_batched_tokens=BUDGET_TOKENS,
            max_num_seqs=8,
            enable_prefix_caching=True,
            seed=0,
            additional_config={
                "profiling_chunk_config": {"enabled": True, "max_step_ms": MAX_STEP_MS}
            },
        )
        self.core: Any = self.llm.llm_engine.engine_core.engine_core
        self.scheduler: Any = self.core.scheduler
        self.steps: list[list[list[int]]] = []
        schedule = self.scheduler.schedule

        def recorded(*args: Any, **kwargs: Any) -> Any:
            output = schedule(*args, **kwargs)
            chunks = [
                [n, self.scheduler.requests[key].num_computed_tokens - n]
                for key, n in output.num_scheduled_tokens.items()
            ]
            if chunks:
                self.steps.append(chunks)
            return output

        self.scheduler.schedule = recorded

    def generate(self, *prompts: list[int], max_tokens: int = 1) -> list[list[int]]:
        from vllm import SamplingParams

        self.steps.clear()
        outputs = self.llm.generate(
            [{"prompt_token_ids": prompt} for prompt in prompts],
            SamplingParams(max_tokens=max_tokens, temperature=0.0, ignore_eos=True),
            use_tqdm=False,
        )
        return [list(output.outputs[0].token_ids) for output in outputs]

    def facts(self) -> dict[str, Any]:
        rng = random.Random(1)
        prompt = rng.choices(range(256), k=PROMPT_TOKENS)
        facts: dict[str, Any] = {
            "scheduler_class": type(self.scheduler).__name__,
            "bases": [base.__name__ for base in type(self.scheduler).__mro__],
            "profile": self.watch.facts,
            "block_size": self.scheduler.block_size,
            "batch_queue_size": self.core.batch_queue_size,
            "planned_in_flight": self.scheduler._cpp_chunk_chooser._max_in_flight,
        }
        self.generate(prompt)
        facts["one_prompt"] = list(self.steps)
        # The same beginning again: the prefix hit is history.
        self.generate(prompt[:4096] + rng.choices(range(256), k=PROMPT_TOKENS - 4096))
        facts["prefix_hit"] = list(self.steps)
        # When the first prompt is answered, at most its own last step and one more are behind it,
        # of BUDGET_TOKENS each. What is left then meets decodes, also where the guard of a busy
        # machine goes over to fixed chunks half-way.
        lengths = (3000, 40, 3000, 3000, 3000, 3000)
        self.generate(*(rng.choices(range(256), k=n) for n in lengths), max_tokens=24)
        facts["mixed"] = list(self.steps)
        facts["measured_steps"] = self.scheduler._cpp_chunk_feedback._report.status.measured_steps
        fresh = rng.choices(range(256), k=PROMPT_TOKENS)
        self.scheduler._cpp_chunk_chooser = BrokenChooser()
        facts["tokens_while_broken"] = len(self.generate(fresh, max_tokens=4)[0])
        facts["broken"] = list(self.steps)
        self.generate(rng.choices(range(256), k=PROMPT_TOKENS))
        facts["after_broken"] = list(self.steps)
        return facts


if __name__ == "__main__":
    probe = Probe(sys.argv[1])
    print(json.dumps(probe.facts()))
    sys.stdout.flush()
    probe.core.shutdown()
    os._exit(0)
