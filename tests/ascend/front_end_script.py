"""Makes engine configurations as `vllm serve` does; writes what came of each as JSON."""

from __future__ import annotations

import copy
import functools
import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

from tests.ascend.cases import CASES, WITHOUT, Case
from tests.ascend.facts import Lines, config_facts, derived_facts, process_facts
from tests.ascend.repeat_facts import repeat_facts


def _configure(model: str, case: Case) -> tuple[Any, bool]:
    from vllm.engine.arg_utils import EngineArgs

    given = copy.deepcopy(case.additional_config)
    arguments = EngineArgs(
        model=model,
        load_format="dummy",
        max_model_len=8192,
        additional_config=given,
        **{
            "pipeline_parallel_size": 2,
            "distributed_executor_backend": "mp",
            "max_num_batched_tokens": 8192,
            **case.arguments,
        },
    )
    vllm_config = arguments.create_engine_config()
    return vllm_config, given != case.additional_config


def _facts_of(model: str, case: Case, pickled: Path) -> dict[str, Any]:
    os.environ.update(case.environment)
    with Lines() as log:
        try:
            vllm_config, is_users_changed = _configure(model, case)
        except Exception as error:  # noqa: BLE001 (what is refused, and by whom, is a fact)
            return {"error": type(error).__name__, "message": str(error), "log": log.lines}
        finally:
            for variable in case.environment:
                del os.environ[variable]
        facts = config_facts(vllm_config)
    pickled.write_bytes(pickle.dumps(vllm_config))
    if facts["is_cpp_chunk_loaded"]:
        facts["derived"] = derived_facts(vllm_config)
    return {**facts, "is_users_changed": is_users_changed, "log": log.lines}


def _read_sources_once() -> None:
    """A server makes one configuration. This process makes many, over the same sources."""
    from cpp_chunk.compat import installed

    installed.check_installed = functools.cache(installed.check_installed)


def main(model: str, mode: str, folder: Path) -> None:
    if mode != WITHOUT:
        _read_sources_once()
    facts = {
        case.name: _facts_of(model, case, folder / f"{case.name}.pickle")
        for case in CASES
        if mode in case.modes
    }
    if mode != WITHOUT:
        [switched_on] = [case for case in CASES if case.name == "on" and mode in case.modes]
        vllm_config, _ = _configure(model, switched_on)
        facts["repeated"] = repeat_facts(vllm_config)
    facts["process"] = process_facts()
    (folder / "front_end.json").write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
