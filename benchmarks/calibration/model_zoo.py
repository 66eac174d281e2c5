"""Tiny models of several architectures by name: what the calibration has to hold for.

Each is one that vLLM runs on a CPU in two stages of equal layers, with `load_format="dummy"`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.engine.tiny_model import TinyModelShape, model_config, write_model_files

if TYPE_CHECKING:
    from pathlib import Path

SLIDING_WINDOW_TOKENS = 1024


def zoo_configs() -> dict[str, dict[str, object]]:
    """The `config.json` of each model, by its name here."""
    return {
        "dense": dense(),
        "dense-wide": dense_wide(),
        "moe": mixture_of_experts(),
        "sliding-window": sliding_window(),
        "mixed-window": mixed_window(),
        "hybrid-short-conv": hybrid_short_conv(),
        "hybrid-mamba": hybrid_mamba(),
        "hybrid-linear": hybrid_linear(),
    }


def write_zoo_model(directory: Path, name: str) -> Path:
    """Write one model's configuration and tokenizer into `directory`, and return it.

    Raises:
        KeyError: there is no model of this name.
    """
    return write_model_files(directory, zoo_configs()[name])


def zoo_llm_arguments(name: str) -> dict[str, object]:
    """What `vllm.LLM` needs besides: not every kernel of vLLM's for the CPU takes float32.

    Raises:
        KeyError: there is no model of this name.
    """
    return {"dtype": zoo_configs()[name]["torch_dtype"]}


def dense() -> dict[str, object]:
    """The demo's model: attention is most of a long prompt's work."""
    return model_config(TinyModelShape())


def dense_wide() -> dict[str, object]:
    """Twice as wide with half the layers: more of the work is in the matrices."""
    return model_config(
        TinyModelShape(hidden_size=512, intermediate_size=2048, num_layers=4, num_kv_heads=2)
    )


def mixture_of_experts() -> dict[str, object]:
    """A Qwen3 of 16 experts, of which each token takes 4."""
    return dense() | {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        "num_experts": 16,
        "num_experts_per_tok": 4,
        "moe_intermediate_size": 192,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "norm_topk_prob": True,
    }


def sliding_window() -> dict[str, object]:
    """A Mistral: no layer looks back further than the window."""
    return dense() | {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "sliding_window": SLIDING_WINDOW_TOKENS,
    }


def mixed_window() -> dict[str, object]:
    """A Gemma 3: three layers of a window to one that sees everything, alike on both stages."""
    return dense() | {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "sliding_window": SLIDING_WINDOW_TOKENS,
        "layer_types": [*["sliding_attention"] * 3, "full_attention"] * 2,
        "query_pre_attn_scalar": 64,
        "rope_local_base_freq": 1e4,
        "hidden_activation": "gelu_pytorch_tanh",
    }


def hybrid_short_conv() -> dict[str, object]:
    """An LFM2: three short convolutions, without history, to one layer of attention."""
    return dense() | {
        "architectures": ["Lfm2ForCausalLM"],
        "model_type": "lfm2",
        "layer_types": [*["conv"] * 3, "full_attention"] * 2,
        "conv_L_cache": 3,
        "conv_bias": False,
        "norm_eps": 1e-6,
        "block_auto_adjust_ff_dim": False,
        # vLLM reads these two, transformers does not: the hidden size again.
        "block_dim": TinyModelShape.hidden_size,
        "conv_dim": TinyModelShape.hidden_size,
    }


def hybrid_mamba() -> dict[str, object]:
    """A Falcon-H1: each layer has attention and a Mamba-2 side by side."""
    return dense() | {
        "architectures": ["FalconH1ForCausalLM"],
        "model_type": "falcon_h1",
        # vLLM looks for the tied weight on a stage that has none.
        "tie_word_embeddings": False,
        "mamba_d_ssm": 512,
        "mamba_n_heads": 8,
        "mamba_d_head": 64,
        "mamba_n_groups": 1,
        "mamba_d_state": 64,
        "mamba_rms_norm": False,
    }


def hybrid_linear() -> dict[str, object]:
    """A Qwen3-Next: three layers of linear attention to one of attention, and experts."""
    return dense() | {
        "architectures": ["Qwen3NextForCausalLM"],
        "model_type": "qwen3_next",
        # vLLM's linear attention for the CPU takes nothing else.
        "torch_dtype": "bfloat16",
        "layer_types": [*["linear_attention"] * 3, "full_attention"] * 2,
        "linear_num_key_heads": 4,
        "linear_num_value_heads": 8,
        "linear_key_head_dim": 64,
        "linear_value_head_dim": 64,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 192,
        "shared_expert_intermediate_size": 192,
    }
