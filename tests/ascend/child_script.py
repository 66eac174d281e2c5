"""An engine core and a worker, each with a pickled configuration: writes what is in them as JSON.

A fresh process, into which vLLM's front end has sent nothing but the configuration.
"""

from __future__ import annotations

import importlib
import json
import pickle
import sys
from pathlib import Path
from typing import Any

from tests.ascend.cases import PLUGIN
from tests.ascend.facts import Lines, config_facts, derived_facts
from tests.ascend.worker_facts import worker_facts


def engine_core_facts(pickled: bytes) -> dict[str, Any]:
    """As `EngineCoreProc` does: the configuration, its check, plugins, then the scheduler."""
    with Lines() as log:
        vllm_config = pickle.loads(pickled)
        # What the handshake does to it, before any plugin is loaded.
        vllm_config.__post_init__()

        # The process is given EngineCoreProc's function, and so imports this.
        importlib.import_module("vllm.v1.engine.core")
        from vllm.plugins import load_general_plugins

        load_general_plugins()
        facts = config_facts(vllm_config)
        if facts["is_cpp_chunk_loaded"]:
            facts["derived"] = derived_facts(vllm_config)
    return {**facts, "log": log.lines}


def main(mode: str, folder: Path) -> None:
    pickled = (folder / "on.pickle").read_bytes()
    facts = {
        "engine_core": engine_core_facts(pickled),
        "worker": worker_facts(pickle.loads(pickled), with_timer=mode == PLUGIN),
    }
    (folder / "child.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
