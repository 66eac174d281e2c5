"""Starts a small engine as the test sets it, and asks its workers what the profile has left.

Prints one JSON object of facts.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from benchmarks.engine_faults.profile_watch import ProfileWatch
from benchmarks.engine_faults.small_engine import SmallEngine


def held(worker: Any) -> list[str]:
    """The requests that this worker knows of. Runs in the worker."""
    runner = worker.model_runner
    return [*runner.requests, *runner.input_batch.req_ids]


def main(model: str, settings: dict[str, Any]) -> None:
    watch = ProfileWatch()
    engine = SmallEngine(model, **settings)
    facts = {
        "held": engine.core.model_executor.collective_rpc(held),
        "profile": watch.facts,
        "target_ms": engine.target_ms,
        "chosen": [],
    }
    schedule = engine.scheduler.schedule

    def watched(*args: Any) -> Any:
        output = schedule(*args)
        facts["chosen"] += list(output.num_scheduled_tokens.values())
        return output

    engine.scheduler.schedule = watched
    prompt = [{"prompt_token_ids": [number % 200 for number in range(3000)]}]
    if settings.get("runner") == "pooling":
        [output] = engine.llm.embed(prompt, use_tqdm=False)
        facts["answer"] = len(output.outputs.embedding)
    else:
        facts["answer"] = len(engine.answer(3000, seed=1)[0])
    print(json.dumps(facts))
    sys.stdout.flush()
    engine.shut_down()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
