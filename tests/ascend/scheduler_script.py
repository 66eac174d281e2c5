"""Makes schedulers and connectors as an engine core does; writes what they did as JSON.

A fresh process, with the configurations that the front end has sent to its engine core.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

from tests.ascend.connector_facts import connector_facts
from tests.ascend.engine_parts import engine_core_config, load_plugins
from tests.ascend.scheduler_facts import asynchronous_load_facts, chosen_chunks_facts


def main(folder: Path) -> None:
    def config(case: str) -> Any:
        return engine_core_config(folder / f"{case}.pickle")

    first = config("on")
    load_plugins()
    release = importlib.metadata.version("vllm-ascend")
    facts = {
        "chosen": {
            "on": chosen_chunks_facts(first),
            "synchronous": chosen_chunks_facts(config("synchronous")),
            "prefill_node": chosen_chunks_facts(config("prefill_node")),
            "prefill_node_synchronous": chosen_chunks_facts(config("prefill_node_synchronous")),
        },
        "loads": {
            case: asynchronous_load_facts(config(case))
            for case in ("prefill_node", "prefill_node_synchronous")
        },
        "connectors": connector_facts(config("prefill_node"), release),
    }
    (folder / "scheduler.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[2]))
