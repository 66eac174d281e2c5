"""A tiny Qwen3-shaped model, made on the spot: shapes, a tokenizer and, where wanted, weights.

Without weights vLLM makes its own with `load_format="dummy"`. The sizes are chosen so that
attention is a good part of a long prompt's work, as it is for a real model: that is what makes
chunks of one size unequal in time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class TinyModelShape:
    """Sizes of the made-up model."""

    hidden_size: int = 256
    intermediate_size: int = 768
    num_layers: int = 8
    num_heads: int = 8
    num_kv_heads: int = 4
    head_dim: int = 64
    vocab_size: int = 512
    max_tokens: int = 65536


# Byte-level tokens take the ids 0 to 255; these follow them.
BOS_TOKEN_ID = 256
EOS_TOKEN_ID = 257
# A prompt of plain token ids keeps below the special ones.
NUM_PLAIN_TOKENS = 256


def write_tiny_model(directory: Path, shape: TinyModelShape | None = None) -> Path:
    """Write the model's configuration and tokenizer into `directory`, and return it."""
    return write_model_files(directory, model_config(shape or TinyModelShape()))


def write_model_files(directory: Path, config: dict[str, object]) -> Path:
    """Write any configuration with the byte-level tokenizer into `directory`, and return it."""
    directory.mkdir(parents=True, exist_ok=True)
    files = {
        "config.json": config,
        "tokenizer.json": byte_level_tokenizer(),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<bos>",
            "eos_token": "<eos>",
        },
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
    return directory


# Sharpens attention: with weight 1, over thousands of random tokens, it would be all but even.
QUERY_NORM_WEIGHT = 3.0


def write_random_weights(
    directory: Path, shape: TinyModelShape | None = None, seed: int = 0
) -> None:
    """Write weights with which the next token depends on the whole prompt.

    vLLM's dummy weights are so small that the answer hardly depends on the history: a history that
    was lost would go unnoticed.
    """
    import numpy as np
    from safetensors.numpy import save_file

    shape = shape or TinyModelShape()
    rng = np.random.default_rng(seed)
    save_file(
        {
            name: np.full(size, fan_in_or_value, np.float32)
            if len(size) == 1
            else (rng.standard_normal(size) / fan_in_or_value**0.5).astype(np.float32)
            for name, size, fan_in_or_value in weight_sizes(shape)
        },
        str(directory / "model.safetensors"),
    )


def weight_sizes(shape: TinyModelShape) -> list[tuple[str, tuple[int, ...], float]]:
    """Name and size of each weight; of a matrix its fan-in, of a vector (a norm) its value."""
    hidden, inner = shape.hidden_size, shape.intermediate_size
    query, key = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    sizes: list[tuple[str, tuple[int, ...], float]] = [
        ("model.embed_tokens.weight", (shape.vocab_size, hidden), hidden),
        ("model.norm.weight", (hidden,), 1.0),
    ]
    for layer in range(shape.num_layers):
        prefix = f"model.layers.{layer}"
        sizes += [
            (f"{prefix}.input_layernorm.weight", (hidden,), 1.0),
            (f"{prefix}.post_attention_layernorm.weight", (hidden,), 1.0),
            (f"{prefix}.self_attn.q_norm.weight", (shape.head_dim,), QUERY_NORM_WEIGHT),
            (f"{prefix}.self_attn.k_norm.weight", (shape.head_dim,), 1.0),
            (f"{prefix}.self_attn.q_proj.weight", (query, hidden), hidden),
            (f"{prefix}.self_attn.k_proj.weight", (key, hidden), hidden),
            (f"{prefix}.self_attn.v_proj.weight", (key, hidden), hidden),
            (f"{prefix}.self_attn.o_proj.weight", (hidden, query), query),
            (f"{prefix}.mlp.gate_proj.weight", (inner, hidden), hidden),
            (f"{prefix}.mlp.up_proj.weight", (inner, hidden), hidden),
            (f"{prefix}.mlp.down_proj.weight", (hidden, inner), inner),
        ]
    return sizes


def model_config(shape: TinyModelShape) -> dict[str, object]:
    """The `config.json` of a Qwen3 of this shape."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocab_size,
        "max_position_embeddings": shape.max_tokens,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "attention_bias": False,
        "tie_word_embeddings": True,
        "use_cache": True,
        "torch_dtype": "float32",
        "bos_token_id": BOS_TOKEN_ID,
        "eos_token_id": EOS_TOKEN_ID,
    }


def byte_level_tokenizer() -> dict[str, object]:
    """The `tokenizer.json` of a tokenizer with one token a byte and no merges."""
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    special = {"<bos>": BOS_TOKEN_ID, "<eos>": EOS_TOKEN_ID}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": token_id,
                "content": content,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for content, token_id in special.items()
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": byte_alphabet(),
            "merges": [],
        },
    }


def byte_alphabet() -> dict[str, int]:
    """The character that byte-level tokenizers write for each byte, and the byte as its id.

    Printable bytes stand for themselves, the others for the characters from U+0100 on, in order.
    """
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)}
    alphabet: dict[str, int] = {}
    next_stand_in = 0x100
    for byte in range(256):
        if byte in printable:
            alphabet[chr(byte)] = byte
        else:
            alphabet[chr(next_stand_in)] = byte
            next_stand_in += 1
    return alphabet
