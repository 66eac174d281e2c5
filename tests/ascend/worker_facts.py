"""One step through vllm-ascend's own worker and model runner, on the last of two stages.

Real: `NPUWorker.execute_model`, `NPUModelRunner.execute_model`, their `_preprocess` and its gather
of the received tensors, vLLM's lazily received tensors. Replaced: what needs a device or other
processes, that is the groups, the batch's state, attention's metadata, the forward pass.
"""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

from tests.ascend.facts import in_tree_settings
from tests.python.fake_device import FakeDevice

NUM_TOKENS = 4
WAIT_MS = 40.0
COMPUTE_MS = 5.0
STEP_ID = 7


class _Group:
    """The last stage's view of the pipeline, or of its tensor parallel group of one."""

    def __init__(self, world_size: int, receive: Any = None) -> None:
        self.world_size = world_size
        self.rank_in_group = world_size - 1
        self.is_first_rank = world_size == 1
        self.is_last_rank = True
        self._receive = receive

    def irecv_tensor_dict(self, **_: Any) -> Any:
        return self._receive()


def _runner_class(device: FakeDevice, events: list[str]) -> type[Any]:  # noqa: C901 (methods)
    import torch
    from vllm.config import CUDAGraphMode
    from vllm.sequence import IntermediateTensors
    from vllm_ascend.worker.model_runner_v1 import NPUModelRunner

    class Runner(NPUModelRunner):
        def __init__(self, vllm_config: Any, ascend_config: Any) -> None:
            self.vllm_config = vllm_config
            self.ascend_config = ascend_config
            for part in ("model", "cache", "parallel", "speculative", "compilation"):
                setattr(self, f"{part}_config", getattr(vllm_config, f"{part}_config"))
            self.device = torch.device("npu")
            self.max_num_tokens = NUM_TOKENS
            self.input_batch = SimpleNamespace(num_reqs=1, req_ids=["request"])
            self.input_ids = SimpleNamespace(gpu=torch.zeros(NUM_TOKENS, dtype=torch.int32))
            self.positions = torch.zeros(NUM_TOKENS, dtype=torch.int64)
            self.model = SimpleNamespace(compute_logits=lambda hidden_states: hidden_states)
            for name in ("execute_model_state", "prepare_inputs_event", "debugger"):
                setattr(self, name, None)
            for name in _OFF:
                setattr(self, name, False)
            self.pcp_size = self.dcp_size = 1
            self.num_spec_tokens = self.uses_xdrope_dim = 0
            self.intermediate_tensors = IntermediateTensors(
                {"hidden_states": torch.zeros(NUM_TOKENS, 2)}
            )

        def _update_states(self, scheduler_output: Any) -> None:
            return None

        def _prepare_inputs(self, *_: Any) -> Any:
            events.append("prepare")
            return torch.tensor([NUM_TOKENS - 1]), None, NUM_TOKENS

        def _determine_batch_execution_and_padding(self, **_: Any) -> Any:
            batch = SimpleNamespace(num_tokens=NUM_TOKENS, num_reqs=1)
            return CUDAGraphMode.NONE, batch, False, None, None

        def _build_attention_metadata(self, **_: Any) -> Any:
            return None, None

        def _sanitize_placeholder_input_ids_for_forward(self, *_: Any) -> None:
            return None

        def _init_model_kwargs(self) -> dict[str, Any]:
            return {}

        def _model_forward(self, num_tokens: int, ids: Any, at: Any, received: Any, *_: Any) -> Any:
            events.append("forward")
            device.launch(COMPUTE_MS)
            return received["hidden_states"]

    return Runner


# Features of the runner that this step does without.
_OFF = (
    "use_async_scheduling",
    "cascade_attn_enabled",
    "dynamic_eplb",
    "use_compress",
    "supports_mm_inputs",
    "enable_prompt_embeds",
    "uses_mrope",
    "calculate_kv_scales",
    "use_aux_hidden_state_outputs",
    "broadcast_pp_output",
    "is_pooling_model",
    "_has_sinks",
    "_debugger_started",
)


def worker_facts(vllm_config: Any, *, with_timer: bool) -> dict[str, Any]:
    """What a step does to the device and to the lazy receive, and what our timer saw of it."""
    import torch
    from vllm.distributed import parallel_state
    from vllm_ascend.ascend_config import init_ascend_config
    from vllm_ascend.worker import model_runner_v1
    from vllm_ascend.worker.worker import NPUWorker

    events: list[str] = []
    device = FakeDevice()
    torch.npu.synchronize = lambda: events.append("synchronize")
    torch.npu.Event = device.make_event
    ascend_config = init_ascend_config(vllm_config)

    def wait() -> None:
        events.append("wait")
        device.launch(WAIT_MS)

    def receive() -> Any:
        tensors = {"hidden_states": torch.ones(NUM_TOKENS, 2)}
        return tensors, [SimpleNamespace(wait=wait)], []

    parallel_state._PP = _Group(2, receive)
    parallel_state._TP = _Group(1)
    # Both write to buffers on the device.
    model_runner_v1.update_cos_sin = lambda positions: None
    model_runner_v1.set_ascend_forward_context = lambda *_, **__: contextlib.nullcontext()

    worker = object.__new__(NPUWorker)
    worker.vllm_config = vllm_config
    worker.profiler = None
    worker._pp_send_work = []
    worker.model_runner = _runner_class(device, events)(vllm_config, ascend_config)

    reading = _run(worker, device, with_timer=with_timer)
    state = worker.model_runner.execute_model_state
    return {
        "events": events,
        "need_timing": in_tree_settings(ascend_config).need_timing,
        "received": state.hidden_states.tolist(),
        "reading": reading,
    }


def _run(worker: Any, device: FakeDevice, *, with_timer: bool) -> Any:
    scheduler_output = SimpleNamespace(
        total_num_scheduled_tokens=NUM_TOKENS,
        num_scheduled_tokens={"request": NUM_TOKENS},
        scheduled_spec_decode_tokens={},
        scheduled_encoder_inputs={},
        cpp_chunk_step_id=STEP_ID,
    )
    if not with_timer:
        worker.execute_model(scheduler_output)
        return None
    from cpp_chunk.worker import timer

    timer.install(worker)
    synchronisations = device.synchronisations
    worker.execute_model(scheduler_output)
    reading = timer.read(worker, 0, wait=False)
    device.complete(WAIT_MS + COMPUTE_MS)
    later = timer.read(worker, 0, wait=False)
    return {
        "pp_rank": later.pp_rank,
        "at_once": reading.times,
        "later": [(step_id, compute_ms) for step_id, _, compute_ms in later.times],
        "synchronisations": device.synchronisations - synchronisations,
    }
