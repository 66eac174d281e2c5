"""The configurations that are tried on vllm-ascend's platform, in the order they are tried."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PLUGIN = "plugin"
WITHOUT = "without"
IN_TREE = "in-tree"
MODES = (PLUGIN, WITHOUT, IN_TREE)

KEY = "profiling_chunk_config"
ON: dict[str, Any] = {"enabled": True}
# Keys that only we know: no vllm-ascend may be shown them.
OURS: dict[str, Any] = {"implementation": "in-tree", "allow_untested": True}

# A prefill node that finds part of some prompts elsewhere.
PREFILL_NODE: dict[str, Any] = {
    "kv_transfer_config": {
        "kv_connector": "LoadingConnector",
        "kv_connector_module_path": "tests.ascend.loading_connector",
        "kv_role": "kv_producer",
    }
}


@dataclass(frozen=True)
class Case:
    """One call of `create_engine_config`."""

    name: str
    additional_config: dict[str, Any]
    modes: tuple[str, ...] = (PLUGIN,)
    arguments: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def _on(**settings: Any) -> dict[str, Any]:
    return {KEY: {**ON, **settings}}


def _beside(**others: Any) -> dict[str, Any]:
    return {**_on(), **others}


CASES = [
    # First: whatever is switched on later stays in the process.
    Case("off", {}, MODES),
    Case("on", _on(), (PLUGIN, WITHOUT)),
    Case("on", _on(**OURS), (IN_TREE,)),
    Case("nested", {"scheduler_config": _on()}, (PLUGIN, WITHOUT)),
    Case("nested", {"scheduler_config": _on(**OURS)}, (IN_TREE,)),
    Case("both_places", {**_on(), "scheduler_config": _on()}, (PLUGIN, WITHOUT)),
    Case("both_places", {**_on(**OURS), "scheduler_config": _on(**OURS)}, (IN_TREE,)),
    Case("synchronous", _on(), (PLUGIN,), {"async_scheduling": False}),
    Case(
        "large_min_chunk",
        _on(min_chunk=65536),
        (PLUGIN, WITHOUT),
        {"max_num_batched_tokens": 2048},
    ),
    Case("fixed_chunks", _on(smooth_factor=0), (PLUGIN, WITHOUT)),
    Case("fixed_chunks", _on(smooth_factor=0, **OURS), (IN_TREE,)),
    Case("other_key", {**_on(), "scheduler_config": {"no_such_key": 1}}),
    Case("prefill_node", _on(), (PLUGIN,), PREFILL_NODE),
    Case("prefill_node_synchronous", _on(), (PLUGIN,), {**PREFILL_NODE, "async_scheduling": False}),
    # What we refuse.
    Case("one_stage", _on(), (PLUGIN, WITHOUT), {"pipeline_parallel_size": 1}),
    Case(
        "balance_variable",
        _on(),
        (PLUGIN, WITHOUT),
        environment={"VLLM_ASCEND_BALANCE_SCHEDULING": "1"},
    ),
    Case("balance", _beside(enable_balance_scheduling=True), (PLUGIN, WITHOUT)),
    Case(
        "balance_nested",
        _beside(scheduler_config={"enable_balance_scheduling": True}),
        (PLUGIN, WITHOUT),
    ),
    Case(
        "short_request_first",
        _beside(scheduler_config={"short_request_first_config": {"enabled": True}}),
        (PLUGIN, WITHOUT),
    ),
    Case(
        "batch_jobs",
        _beside(scheduler_config={"batch_job_sched_config": {"enabled": True}}),
        (PLUGIN, WITHOUT),
    ),
    Case("dynamic_batch", _beside(SLO_limits_for_dynamic_batch=50), (PLUGIN, WITHOUT)),
    Case("recompute", _beside(recompute_scheduler_enable=True), (PLUGIN, WITHOUT)),
    Case(
        "recompute_on_decode_node",
        _beside(recompute_scheduler_enable=True),
        (PLUGIN,),
        {"kv_transfer_config": {"kv_connector": "ExampleConnector", "kv_role": "kv_consumer"}},
    ),
    Case("unknown_setting", _on(min_chunks=1), (PLUGIN, WITHOUT)),
    Case("unlike_places", {**_on(), "scheduler_config": _on(min_chunk=512)}),
]
