"""The models that the calibration is measured on: what is written is what was meant."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.calibration.model_zoo import write_zoo_model, zoo_configs, zoo_llm_arguments
from benchmarks.engine.tiny_model import NUM_PLAIN_TOKENS, write_tiny_model

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [
    "dense",
    "dense-wide",
    "moe",
    "sliding-window",
    "mixed-window",
    "hybrid-short-conv",
    "hybrid-mamba",
    "hybrid-linear",
]
NUM_STAGES = 2


def read(directory: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((directory / "config.json").read_text())
    return config


def test_names_are_known() -> None:
    assert list(zoo_configs()) == NAMES


def test_unknown_name_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mistral"):
        write_zoo_model(tmp_path / "model", "mistral")
    assert not (tmp_path / "model").exists()


def test_dense_is_the_demo_model(tmp_path: Path) -> None:
    zoo, demo = write_zoo_model(tmp_path / "zoo", "dense"), write_tiny_model(tmp_path / "demo")
    assert {path.name: path.read_text() for path in zoo.iterdir()} == {
        path.name: path.read_text() for path in demo.iterdir()
    }


def test_no_two_have_the_same_configuration() -> None:
    configs = [json.dumps(config) for config in zoo_configs().values()]
    assert len(set(configs)) == len(configs)


@pytest.mark.parametrize("name", NAMES)
def test_stages_are_alike(tmp_path: Path, name: str) -> None:
    config = read(write_zoo_model(tmp_path, name))
    num_layers = config["num_hidden_layers"]
    assert num_layers % NUM_STAGES == 0
    layer_types = config.get("layer_types", ["full_attention"] * num_layers)
    assert len(layer_types) == num_layers
    half = num_layers // NUM_STAGES
    assert layer_types[:half] == layer_types[half:]


@pytest.mark.parametrize("name", NAMES)
def test_transformers_reads_it(tmp_path: Path, name: str) -> None:
    transformers = pytest.importorskip("transformers")
    directory = write_zoo_model(tmp_path, name)
    written = read(directory)
    config = transformers.AutoConfig.from_pretrained(str(directory))
    assert type(config).__name__ != "PretrainedConfig"
    assert config.model_type == written["model_type"]
    # An option of a wrong name would be taken as it is and do nothing: the class must know these.
    without = type(config)()
    for key in (
        {"sliding_window", "num_experts", "moe_intermediate_size", "conv_L_cache"}
        | {"mamba_d_ssm", "mamba_n_heads", "linear_num_value_heads", "layer_types"}
    ) & written.keys():
        assert hasattr(without, key)
        assert getattr(config, key) == written[key]


def test_tokenizer_covers_plain_ids(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    directory = write_zoo_model(tmp_path, "moe")
    tokenizer = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    assert NUM_PLAIN_TOKENS <= tokenizer.get_vocab_size() <= read(directory)["vocab_size"]


def test_only_the_linear_attention_is_not_float32() -> None:
    dtypes = {name: zoo_llm_arguments(name)["dtype"] for name in NAMES}
    assert dtypes == dict.fromkeys(NAMES, "float32") | {"hybrid-linear": "bfloat16"}
