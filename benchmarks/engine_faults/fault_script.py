"""One engine, whose worker may fail while it profiles: what is left, and what it answers then.

Arguments: the model, and "plain" for an engine without our plugin. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.engine_faults.profile_watch import ProfileWatch
from benchmarks.engine_faults.small_engine import SmallEngine

# A single stage: vLLM's CPU backend cannot run two in eager mode without our plugin.
PLAIN: dict[str, Any] = {"pipeline_parallel_size": 1, "additional_config": {}}
FAULTY: dict[str, Any] = {
    "worker_extension_cls": "benchmarks.engine_faults.faulty_worker.FaultyWorker"
}
# One after the other, then two at once.
ROUNDS = ((3000,), (3000,), (1500,), (2000, 700))


def main(model: str, *, plain: bool) -> None:
    watch = ProfileWatch()
    engine = SmallEngine(model, **(PLAIN if plain else FAULTY))
    facts: dict[str, Any] = {"profile": watch.facts}
    if not plain:
        facts["target_ms"] = engine.target_ms
    if switch := os.environ.get("CPP_CHUNK_TEST_SWITCH"):
        # What is served meets the fault, and the start-up profile does not.
        Path(switch).touch()
    free_blocks = engine.free_blocks
    facts["answers"] = [engine.answer(*lengths, seed=i) for i, lengths in enumerate(ROUNDS)]
    facts["lost_blocks"] = free_blocks - engine.free_blocks
    print(json.dumps(facts))
    sys.stdout.flush()
    engine.shut_down()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], plain=sys.argv[2:] == ["plain"])
