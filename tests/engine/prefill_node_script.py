"""Looks into a prefill node: a real engine with a KV connector in the producer's role.

The connector is vLLM's own example, which writes KV to files. Prints one JSON object of facts.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.engine_faults.profile_watch import ProfileWatch
from benchmarks.engine_faults.small_engine import SmallEngine

PROMPT_TOKENS = 3000
# What vLLM's scheduler calls on a connector, with a request or a step.
TELLING = (
    "on_new_request",
    "get_num_new_matched_tokens",
    "update_state_after_alloc",
    "request_finished",
    "request_finished_all_groups",
)


def listen() -> list[str]:
    """What the connector is told, from its construction on."""
    from vllm.distributed.kv_transfer.kv_connector.v1.example_connector import ExampleConnector

    told: list[str] = []
    for name in TELLING:
        original = getattr(ExampleConnector, name, None)
        if original is None:
            continue

        def heard(self: Any, request: Any, *args: Any, _original: Any = original) -> Any:
            told.append(request.request_id)
            return _original(self, request, *args)

        setattr(ExampleConnector, name, heard)
    build = ExampleConnector.build_connector_meta

    def heard_build(self: Any, output: Any) -> Any:
        told.extend(output.num_scheduled_tokens)
        return build(self, output)

    ExampleConnector.build_connector_meta = heard_build
    return told


def main(model: str, folder: str) -> None:
    from vllm.config import KVTransferConfig

    watch, told = ProfileWatch(), listen()
    engine = SmallEngine(
        model,
        kv_transfer_config=KVTransferConfig(
            kv_connector="ExampleConnector",
            kv_role="kv_producer",
            kv_connector_extra_config={"shared_storage_path": folder},
        ),
    )
    facts: dict[str, Any] = {
        "told_while_profiling": list(told),
        "profile": watch.facts,
        "target_ms": engine.target_ms,
        "connector": type(engine.scheduler.connector).__name__,
        "free_blocks": engine.free_blocks,
    }
    facts["answer"] = engine.answer(PROMPT_TOKENS, seed=1)
    facts["told_while_serving"] = len(told)
    facts["files"] = sorted(path.name for path in Path(folder).rglob("*.safetensors"))
    facts["free_blocks_after"] = engine.free_blocks
    print(json.dumps(facts))
    sys.stdout.flush()
    engine.shut_down()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
    os._exit(0)
