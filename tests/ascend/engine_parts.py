"""A scheduler of vllm-ascend with our mixin in it, and the little that an engine core does to it.

Real: the configuration, the scheduler and its KV cache manager. Replaced: our start-up, which would
profile workers that are not there, and the model's answers.
"""

from __future__ import annotations

import importlib
import pickle
import random
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

BLOCK_TOKENS = 128
NUM_BLOCKS = 256
NUM_LAYERS = 4
VOCABULARY = range(256)


class ScriptedChooser:
    """Answers what a test has written down.

    Args:
        answers: for a prompt of so many tokens, its chunks in the order in which they are asked
            for; after them whatever vLLM allows.
    """

    def __init__(self, answers: Mapping[int, Sequence[int]]) -> None:
        self._answers = {num_tokens: list(sizes) for num_tokens, sizes in answers.items()}
        self.added: list[tuple[int, int]] = []
        self.num_decodes = 0
        self.num_steps_left = 0

    def set_backlog(self, *backlog: Any) -> None: ...

    def begin_step(self) -> None: ...

    def chunk_tokens(
        self, remaining: int, num_computed_tokens: int, max_tokens: int, share: float
    ) -> int:
        left = self._answers.get(remaining + num_computed_tokens)
        return left.pop(0) if left else max_tokens

    def add_chunk(self, num_tokens: int, num_computed_tokens: int) -> None: ...

    def add_decodes(
        self, num_decodes: int, num_computed_tokens: int, tokens_each: int = 1
    ) -> None: ...

    def scheduled(self, step_id: int, prefills: Sequence[tuple[int, int]]) -> None:
        self.added += prefills
        self.num_decodes += not prefills

    def left(self, step_id: int) -> None:
        self.num_steps_left += 1


def engine_core_config(pickled: Path) -> Any:
    """What the front end has sent, as an engine core has it when it makes its scheduler."""
    vllm_config = pickle.loads(pickled.read_bytes())
    vllm_config.__post_init__()
    vllm_config.cache_config.num_gpu_blocks = NUM_BLOCKS
    return vllm_config


def load_plugins() -> None:
    # In this order: the engine core's process imports it first of all.
    importlib.import_module("vllm.v1.engine.core")
    from cpp_chunk.assembly import startup
    from vllm.plugins import load_general_plugins

    load_general_plugins()
    startup.start = lambda scheduler, context: None


def kv_cache_config() -> Any:
    import torch
    from vllm.v1.kv_cache_interface import (
        FullAttentionSpec,
        KVCacheConfig,
        KVCacheGroupSpec,
        KVCacheTensor,
    )

    spec = FullAttentionSpec(
        block_size=BLOCK_TOKENS, num_kv_heads=4, head_size=64, dtype=torch.float16
    )
    layers = [f"layer.{number}" for number in range(NUM_LAYERS)]
    return KVCacheConfig(
        num_blocks=NUM_BLOCKS,
        kv_cache_tensors=[
            KVCacheTensor(size=NUM_BLOCKS * spec.page_size_bytes, shared_by=[layer])
            for layer in layers
        ],
        kv_cache_groups=[KVCacheGroupSpec(layers, spec)],
    )


def make_scheduler(vllm_config: Any) -> Any:
    """As `EngineCore.__init__` does, once its KV caches are there."""
    from cpp_chunk.assembly.context import attach
    from vllm.v1.structured_output import StructuredOutputManager

    attach(vllm_config, executor=None)
    # Our seam: it hands what vllm-ascend has chosen to `cpp_chunk.engine.scheduler.derive`.
    scheduler_cls = vllm_config.scheduler_config.get_scheduler_cls()
    return scheduler_cls(
        vllm_config=vllm_config,
        kv_cache_config=kv_cache_config(),
        structured_output_manager=StructuredOutputManager(vllm_config),
        block_size=BLOCK_TOKENS,
        hash_block_size=BLOCK_TOKENS,
    )


def make_request(
    name: str, num_tokens: int, max_tokens: int = 1, kv_transfer_params: Any = None
) -> Any:
    from vllm.sampling_params import SamplingParams
    from vllm.utils.hashing import get_hash_fn_by_name
    from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
    from vllm.v1.request import Request

    hash_function = get_hash_fn_by_name("sha256")
    init_none_hash(hash_function)
    request = Request(
        request_id=name,
        prompt_token_ids=random.Random(name).choices(VOCABULARY, k=num_tokens),
        sampling_params=SamplingParams(max_tokens=max_tokens, temperature=0.0, ignore_eos=True),
        pooling_params=None,
        block_hasher=get_request_block_hasher(BLOCK_TOKENS, hash_function),
    )
    request.kv_transfer_params = kv_transfer_params
    return request


def answer_to(scheduler: Any, output: Any, loaded: Sequence[str] = ()) -> Any:
    """What the last stage answers: a token for each request whose prompt this step completes.

    To be made before a later step is scheduled, as a device makes it from what it was sent.
    """
    from vllm.v1.outputs import KVConnectorOutput, ModelRunnerOutput

    requests = [scheduler.requests[name] for name in output.num_scheduled_tokens]
    return ModelRunnerOutput(
        req_ids=[one.request_id for one in requests],
        req_id_to_index={one.request_id: index for index, one in enumerate(requests)},
        sampled_token_ids=[
            [7] if one.num_computed_tokens >= one.num_prompt_tokens else [] for one in requests
        ],
        kv_connector_output=KVConnectorOutput(finished_recving=set(loaded)) if loaded else None,
    )


def done(result: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(result)
    return future
