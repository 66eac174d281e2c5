"""Hints from vLLM's configuration: layers of each stage, liked token counts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cpp_chunk
import pytest
from cpp_chunk.settings.model_shape import (
    alignment_tokens,
    layers_of_stages,
    preferred_multiples,
)


def vllm_config(**changes: Any) -> Any:
    """What the functions read, as vLLM 0.32 names it."""
    values: dict[str, Any] = {
        "stages": 4,
        "layers": 61,
        "tensor_parallel": 8,
        "context_parallel": 1,
        "sequence_parallel": False,
        "is_moe": False,
        "additional_config": {},
    } | changes
    return SimpleNamespace(
        additional_config=values["additional_config"],
        model_config=SimpleNamespace(
            hf_text_config=SimpleNamespace(num_hidden_layers=values["layers"]),
            is_moe=values["is_moe"],
        ),
        parallel_config=SimpleNamespace(
            pipeline_parallel_size=values["stages"],
            tensor_parallel_size=values["tensor_parallel"],
            prefill_context_parallel_size=values["context_parallel"],
        ),
        compilation_config=SimpleNamespace(
            pass_config=SimpleNamespace(enable_sp=values["sequence_parallel"])
        ),
    )


def test_layers_are_vllms_own_split(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vllm")
    monkeypatch.delenv("VLLM_PP_LAYER_PARTITION", raising=False)
    assert layers_of_stages(vllm_config()) == [15, 15, 16, 15]
    assert layers_of_stages(vllm_config(layers=None)) is None
    assert layers_of_stages(vllm_config(layers=3)) is None


@pytest.mark.parametrize(
    ("changes", "multiples"),
    [
        ({}, []),
        ({"sequence_parallel": True}, [8]),
        ({"sequence_parallel": True, "tensor_parallel": 1}, []),
        ({"additional_config": {"enable_flashcomm1": True}}, [8]),
        ({"context_parallel": 4}, [8]),
        ({"is_moe": True}, [128]),
        ({"sequence_parallel": True, "context_parallel": 2, "is_moe": True}, [8, 4, 128]),
    ],
)
def test_multiples(changes: dict[str, Any], multiples: list[int]) -> None:
    assert preferred_multiples(vllm_config(**changes)) == multiples


def test_nothing_is_known_of_an_older_configuration() -> None:
    config = vllm_config(sequence_parallel=True, is_moe=True)
    del config.model_config.is_moe
    del config.compilation_config.pass_config
    del config.parallel_config.prefill_context_parallel_size
    assert preferred_multiples(config) == []


def scheduler(
    block_size: int,
    *specs: Any,
    cache_mode: str = "none",
    ranks: int = 1,
    max_num_batched_tokens: int = 1 << 20,
) -> Any:
    return SimpleNamespace(
        block_size=block_size,
        max_num_scheduled_tokens=max_num_batched_tokens,
        parallel_config=SimpleNamespace(decode_context_parallel_size=ranks),
        vllm_config=SimpleNamespace(cache_config=SimpleNamespace(mamba_cache_mode=cache_mode)),
        kv_cache_config=SimpleNamespace(
            kv_cache_groups=[SimpleNamespace(kv_cache_spec=spec) for spec in specs]
        ),
    )


def test_blocks_of_states_that_are_not_cached_align_nothing() -> None:
    interface = pytest.importorskip("vllm.v1.kv_cache_interface")
    torch = pytest.importorskip("torch")
    attention = SimpleNamespace(block_size=128)
    state = interface.MambaSpec(block_size=16384, shapes=((1,),), dtypes=(torch.float32,))
    assert alignment_tokens(scheduler(128, attention)) == 128
    assert alignment_tokens(scheduler(16384, attention, state)) == 128
    # Two context-parallel ranks share a block of attention; a state layer's each has for itself.
    assert alignment_tokens(scheduler(16384, attention, state, ranks=2)) == 256
    whole = SimpleNamespace(block_size=64, dcp_sharded=False)
    assert alignment_tokens(scheduler(16384, attention, whole, state, ranks=2)) == 256
    assert alignment_tokens(scheduler(256, attention, ranks=2)) == 256
    assert alignment_tokens(scheduler(256, attention, state, cache_mode="align")) == 256
    assert alignment_tokens(scheduler(16384, state)) == 16384


STAGE = cpp_chunk.LatencyModel(
    quadratic=6.5e-7, cross=6.5e-7, linear=6.03e-3, context=5.39e-4, constant=43.6
)


@pytest.mark.parametrize("num_stages", [2, 4])
@pytest.mark.parametrize("block_tokens", [16, 128, 256, 528, 784, 1072, 2048])
def test_coarse_blocks_cost_no_more_than_the_best_fixed_size_does(
    block_tokens: int, num_stages: int
) -> None:
    pytest.importorskip("vllm.v1.kv_cache_interface")
    cap = 2048
    attention = SimpleNamespace(block_size=block_tokens)
    alignment = alignment_tokens(scheduler(block_tokens, attention, max_num_batched_tokens=cap))
    stages = [STAGE] * num_stages
    for prompt_tokens in (6000, 20000, 65536):
        plan = cpp_chunk.plan_chunks(
            stages, prompt_tokens, max_chunk_tokens=cap, alignment=alignment
        )
        fixed_ms = min(
            cpp_chunk.plan_fixed_chunks(stages, prompt_tokens, size).makespan_ms
            for size in (256, 512, 1024, 1536, 2048)
        )
        assert plan.makespan_ms <= 1.01 * fixed_ms
    # Where vLLM itself ends chunks on blocks, so do we.
    cached = scheduler(block_tokens, attention, cache_mode="align", max_num_batched_tokens=cap)
    assert alignment_tokens(cached) == block_tokens
