"""Asks real vLLM for engine configurations that must be refused; prints what each one got."""

from __future__ import annotations

import json
import sys
from typing import Any

ALLOWED = {"profiling_chunk_config": {"enabled": True, "allow_untested": True}}
CASES: dict[str, dict[str, Any]] = {
    # First, before anything has been switched on in this process.
    "off": {"pipeline_parallel_size": 1, "additional_config": {}},
    "accepted": {},
    "one_stage": {"pipeline_parallel_size": 1},
    "no_chunked_prefill": {"enable_chunked_prefill": False},
    "unknown_key": {
        "additional_config": {"profiling_chunk_config": {"enabled": True, "min_chnk": 5}}
    },
    "wrong_type": {
        "additional_config": {"profiling_chunk_config": {"enabled": True, "min_chunk": "5"}}
    },
    "both_places": {
        "additional_config": {
            "profiling_chunk_config": {"enabled": True},
            "scheduler_config": {"profiling_chunk_config": {"enabled": False}},
        }
    },
    "in_tree_elsewhere": {
        "additional_config": {
            "profiling_chunk_config": {"enabled": True, "implementation": "in-tree"}
        }
    },
    "unknown_shape": {},
    "unknown_shape_allowed": {"additional_config": ALLOWED},
    "untested_release": {},
    "untested_release_allowed": {"additional_config": ALLOWED},
    # Last, since vLLM then switches multiprocessing off for the whole process.
    "executor_of_one_stage": {"distributed_executor_backend": "external_launcher"},
}


def strange_scheduler() -> type[Any]:
    from vllm.v1.core.sched.scheduler import Scheduler

    class StrangeScheduler(Scheduler):
        def schedule(self, *args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError

    return StrangeScheduler


def main(model: str) -> None:
    from cpp_chunk.compat import release
    from packaging.specifiers import SpecifierSet
    from vllm.engine.arg_utils import EngineArgs

    answers: dict[str, str | None] = {}
    for name, changes in CASES.items():
        arguments = {
            "model": model,
            "load_format": "dummy",
            "enforce_eager": True,
            "pipeline_parallel_size": 2,
            "max_model_len": 8192,
            "additional_config": {"profiling_chunk_config": {"enabled": True}},
        } | changes
        if name.startswith("unknown_shape"):
            arguments["scheduler_cls"] = strange_scheduler()
        # No other vLLM is at hand here, but another range.
        supported = SpecifierSet(">=99" if name.startswith("untested_release") else ">=0")
        release.supported_range = lambda supported=supported: supported
        try:
            config = EngineArgs(**arguments).create_engine_config()
        except Exception as error:
            answers[name] = f"{type(error).__name__}: {error}"
        else:
            answers[name] = None
            scheduler_cls = config.scheduler_config.get_scheduler_cls()
            answers[f"{name}_scheduler"] = f"{scheduler_cls.__module__}.{scheduler_cls.__name__}"
    print(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1])
