"""What vllm-ascend's connectors tell the workers while a profile is taken.

Real: each connector, made by vLLM's factory inside the real scheduler, and the `Profiler`.
Replaced: the store behind AscendStore's scheduler, which is a service, and the stages' answers.
"""

from __future__ import annotations

import copy
import dataclasses
import reprlib
from types import SimpleNamespace
from typing import Any

from tests.ascend.engine_parts import answer_to, done, make_request, make_scheduler
from tests.ascend.facts import qualified

STORE = "AscendStoreConnector"
PASSES = [(256, 0), (512, 1024), (256, 0)]
REQUEST_TOKENS = 1024

_LAYERWISE = "MooncakeLayerwiseConnector"
_MULTIPLE = {
    "connectors": [
        {"kv_connector": name, "kv_role": "kv_producer"} for name in ("MooncakeConnectorV1", STORE)
    ]
}
_IN_BOTH: list[tuple[str, str, dict[str, Any]]] = [
    (STORE, "kv_producer", {}),
    (STORE, "kv_consumer", {}),
    (STORE, "kv_both", {}),
    ("MooncakeConnectorStoreV1", "kv_producer", {}),
    ("MooncakeConnectorV1", "kv_producer", {}),
    ("MooncakeConnectorV1", "kv_consumer", {}),
    ("MooncakeHybridConnector", "kv_producer", {}),
    (_LAYERWISE, "kv_producer", {}),
    (_LAYERWISE, "kv_consumer", {}),
    ("MultiConnector", "kv_producer", _MULTIPLE),
    ("RecomputeCPUOffloadConnector", "kv_both", {"cpu_bytes_to_use": 1 << 26}),
    ("SimpleCPUOffloadConnector", "kv_both", {"cpu_bytes_to_use": 1 << 26}),
]
# By release; LMCacheAscendConnector and UCMConnector want packages that are not here.
CONNECTORS = {
    "0.23.0": _IN_BOTH,
    "0.26.0rc1": [*_IN_BOTH, ("SfaRemoteD2HConnector", "kv_producer", {})],
}
# Of these it is seen that metadata can ask for something.
SERVED = [(name, "kv_producer") for name in (STORE, "MooncakeConnectorV1", "MultiConnector")]
# What a request brings along on a prefill node.
_SENT_ON = {"do_remote_decode": True}


def case_name(connector: str, role: str) -> str:
    return f"{connector}, {role}"


def _without_store() -> None:
    from vllm_ascend.distributed.kv_transfer.kv_pool.ascend_store.backend.mooncake_backend import (
        MooncakeBackend,
    )

    MooncakeBackend.create_scheduler_client = lambda parallel_config: None


def asked_of_workers(metadata: Any) -> dict[str, Any]:
    """All in the metadata that is something; -1 is how offloading says "no event"."""
    if not hasattr(metadata, "__dict__"):
        return {"value": reprlib.repr(metadata)}
    asked: dict[str, Any] = {}
    for name, value in vars(metadata).items():
        inner = list(value) if isinstance(value, tuple) else [value]
        for number, one in enumerate(inner):
            if dataclasses.is_dataclass(one) or type(one).__name__.endswith("Metadata"):
                nested = asked_of_workers(one)
                asked.update({f"{name}.{number}.{key}": held for key, held in nested.items()})
            elif one and one != -1:
                asked[name] = reprlib.repr(one)
    return asked


class _Executor:
    """Two stages that answer at once; keeps what they were sent."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self.outputs: list[Any] = []

    def execute_model(self, output: Any, *, non_block: bool) -> Any:
        from vllm.v1.outputs import EMPTY_MODEL_RUNNER_OUTPUT

        self.outputs.append(output)
        return done(None if output.total_num_scheduled_tokens else EMPTY_MODEL_RUNNER_OUTPUT)

    def sample_tokens(self, grammar_output: Any, *, non_block: bool) -> Any:
        return done(answer_to(self._scheduler, self.outputs[-1]))


class _Timers:
    """As `StageTimers`, of stages that take a millisecond for all."""

    def guard_passes(self) -> None: ...

    def end_pass_guard(self) -> list[str]:
        return []

    def read_now(self, after_step_id: int) -> Any:
        steps = range(after_step_id + 1, after_step_id + 1 + len(PASSES))
        return {step: dict.fromkeys(range(2), (0.0, 1.0)) for step in steps}


class _Watched:
    """A connector that notes what the scheduler calls on it."""

    def __init__(self, connector: Any) -> None:
        self.connector = connector
        self.calls: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.calls.add(name)
        return getattr(self.connector, name)


def _profile(scheduler: Any) -> dict[str, Any]:
    from cpp_chunk.engine.profile.profiler import Profiler

    executor = _Executor(scheduler)
    connector = scheduler.connector
    watched = scheduler.connector = _Watched(connector)
    with Profiler(scheduler, executor, _Timers()) as profiler:
        run = profiler.run(PASSES)
    facts = {
        "passes": [(one.num_tokens, one.num_computed_tokens) for one in run],
        "steps": [output.total_num_scheduled_tokens for output in executor.outputs],
        "metadata": [type(output.kv_connector_metadata).__name__ for output in executor.outputs],
        "asked": [asked_of_workers(output.kv_connector_metadata) for output in executor.outputs],
        "calls": sorted(watched.calls),
        "is_back": scheduler.connector is watched,
        "requests_left": len(scheduler.requests),
    }
    scheduler.connector = connector
    return facts


def _serve_one(scheduler: Any) -> dict[str, Any]:
    """What the connector asks for when it is there and a request comes."""
    connector = scheduler.connector
    for one in getattr(connector, "_connectors", [connector]):
        # AscendStore's lookups: its store holds nothing yet.
        one.connector_scheduler.client = SimpleNamespace(lookup=lambda *_, **__: 0)
    scheduler.add_request(make_request("one", REQUEST_TOKENS, kv_transfer_params=dict(_SENT_ON)))
    output = scheduler.schedule()
    return asked_of_workers(output.kv_connector_metadata)


def _without_preempted(connector: Any) -> str | None:
    """What becomes of a step that says nothing of preempted requests."""
    from vllm.v1.core.sched.output import SchedulerOutput

    step = SchedulerOutput.make_empty()
    if step.preempted_req_ids is not None:
        return "preempted_req_ids is not None"
    try:
        connector.build_connector_meta(step)
    except TypeError as error:
        return f"TypeError: {error}"
    return None


def connector_facts(vllm_config: Any, release: str) -> dict[str, Any]:
    """By connector and role."""
    from vllm.config import KVTransferConfig

    _without_store()
    facts: dict[str, Any] = {}
    for name, role, extra in CONNECTORS[release]:
        mine = copy.copy(vllm_config)
        mine.kv_transfer_config = KVTransferConfig(
            kv_connector=name, kv_role=role, kv_connector_extra_config=dict(extra)
        )
        scheduler = make_scheduler(mine)
        connector = scheduler.connector
        facts[case_name(name, role)] = {
            "connector": qualified(type(connector)),
            **_profile(scheduler),
            "without_preempted": _without_preempted(connector),
            "serving": _serve_one(scheduler) if (name, role) in SERVED else None,
        }
    return facts
