"""What vLLM's configuration says about the model's shape: layers of each stage, liked token counts.

The layers and the liked counts are hints: where a vLLM release does not say, there is none.
"""

from __future__ import annotations

import math
from typing import Any

from cpp_chunk.settings.ascend import uses_flashcomm

# Rows of the tiles in which fused MoE kernels and the GEMMs beside them go through a batch.
_MOE_TILE_TOKENS = 128


# A block of up to this part of the cap costs chunks that end on it 3 % at most beside the best
# fixed size; blocks of 528 to 1072 tokens under a cap of 2048 cost up to 47 %.
_COARSEST_BLOCK_SHARE = 1 / 8
# What attention kernels go through keys in.
_FINE_ALIGNMENT_TOKENS = 16


def layers_of_stages(vllm_config: Any) -> list[int] | None:
    """How many layers each pipeline stage holds, as vLLM split them; None where it cannot say."""
    from vllm.distributed.utils import get_pp_indices

    num_layers = getattr(vllm_config.model_config.hf_text_config, "num_hidden_layers", None)
    num_stages = vllm_config.parallel_config.pipeline_parallel_size
    if not isinstance(num_layers, int) or num_layers < num_stages:
        return None
    bounds = [get_pp_indices(num_layers, stage, num_stages) for stage in range(num_stages)]
    return [end - start for start, end in bounds]


def alignment_tokens(scheduler: Any) -> int:
    """What chunks end on multiples of: the KV block, unless that is coarse beside a chunk.

    Where states are cached (Mamba), vLLM itself ends chunks on blocks. Else it needs no such ends:
    a block is filled by the next chunk.
    """
    block_tokens = _block_tokens(scheduler)
    if _are_states_cached(scheduler):
        return block_tokens
    if block_tokens > _COARSEST_BLOCK_SHARE * scheduler.max_num_scheduled_tokens:
        return math.gcd(block_tokens, _FINE_ALIGNMENT_TOKENS)
    return block_tokens


def _are_states_cached(scheduler: Any) -> bool:
    return getattr(scheduler.vllm_config.cache_config, "mamba_cache_mode", "none") != "none"


def _block_tokens(scheduler: Any) -> int:
    """The KV block.

    In a hybrid model vLLM's own number spans the blocks of state layers too, which are as long as
    `max_model_len` where states are not cached. Such a block is never filled: it aligns nothing.
    """
    from vllm.v1.kv_cache_interface import MambaSpec

    whole: int = scheduler.block_size
    if _are_states_cached(scheduler):
        return whole
    specs = [group.kv_cache_spec for group in scheduler.kv_cache_config.kv_cache_groups]
    # Ranks of decode context parallelism share a block of attention, so that it is as much longer.
    ranks = scheduler.parallel_config.decode_context_parallel_size
    blocks = [
        spec.block_size * (ranks if getattr(spec, "dcp_sharded", True) else 1)
        for spec in specs
        if not isinstance(spec, MambaSpec)
    ]
    if len(blocks) == len(specs) or not blocks:
        return whole
    return math.lcm(*blocks)


def preferred_multiples(vllm_config: Any) -> list[int]:
    """Token counts that the deployment's kernels like a step to be a multiple of."""
    parallel = vllm_config.parallel_config
    passes = getattr(vllm_config.compilation_config, "pass_config", None)
    multiples = []
    if (
        getattr(passes, "enable_sp", None)
        or getattr(passes, "enable_sequence_parallelism", None)
        or uses_flashcomm(vllm_config)
    ):
        # The residual stream is cut over the tensor parallel ranks, token by token.
        multiples.append(parallel.tensor_parallel_size)
    if (ranks := getattr(parallel, "prefill_context_parallel_size", 1)) > 1:
        # A rank takes one piece from the front and one from the back, so that all work alike.
        multiples.append(2 * ranks)
    if getattr(vllm_config.model_config, "is_moe", False):
        multiples.append(_MOE_TILE_TOKENS)
    return [multiple for multiple in multiples if multiple > 1]
