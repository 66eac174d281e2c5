"""What a profile is remembered for: all that changes the timing, and nothing else."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cpp_chunk import __version__
from cpp_chunk.settings.deployment import Deployment, device_name
from pydantic import ValidationError
from remembered import deployment


class Mode(enum.IntEnum):
    NONE = 0
    VLLM_COMPILE = 3


class Dtype:
    def __str__(self) -> str:
        return "torch.bfloat16"


class Executor:
    """A user's own executor."""


def hf_config(**values: Any) -> Any:
    config = {
        "hidden_size": 256,
        "_name_or_path": "here",
        "transformers_version": "5",
        "id2label": {0: "a", 1: "b"},
        "text_config": {"num_hidden_layers": 8, "transformers_version": "5"},
        **values,
    }
    return SimpleNamespace(to_dict=lambda: config)


def vllm_config(**changes: Any) -> Any:
    """What is read of a configuration, as vLLM 0.32 names it; keys are `config.setting`."""
    values: dict[str, Any] = {
        "model_config.model": "some/model",
        "model_config.hf_config": hf_config(),
        "model_config.dtype": Dtype(),
        "model_config.quantization": None,
        "model_config.max_model_len": 8192,
        "cache_config.cache_dtype": "auto",
        "cache_config.block_size": 16,
        "parallel_config.pipeline_parallel_size": 2,
        "parallel_config.tensor_parallel_size": 4,
        "parallel_config.prefill_context_parallel_size": 1,
        "parallel_config.decode_context_parallel_size": 1,
        "parallel_config.data_parallel_size": 1,
        "parallel_config.enable_expert_parallel": False,
        "parallel_config.nnodes": 1,
        "parallel_config.distributed_executor_backend": "mp",
        "scheduler_config.max_num_batched_tokens": 2048,
        "scheduler_config.max_num_seqs": 128,
        "scheduler_config.long_prefill_token_threshold": 0,
        "scheduler_config.watermark": 0.0,
        "scheduler_config.async_scheduling": False,
        "use_v2_model_runner": False,
        "compilation_config.mode": Mode.NONE,
        "compilation_config.cudagraph_mode": Mode.NONE,
        "attention_config.backend": None,
        "speculative_config.method": None,
        "lora_config": None,
        "device_config.device_type": "cuda",
    }
    config = SimpleNamespace()
    for path, value in (values | changes).items():
        *owners, name = path.split(".")
        owner = config
        for part in owners:
            owner.__dict__.setdefault(part, SimpleNamespace())
            owner = getattr(owner, part)
        setattr(owner, name, value)
    return config


def of(**changes: Any) -> Deployment:
    return Deployment.of(vllm_config(**changes), "a device")


def test_fields_are_readable() -> None:
    found = of()
    assert found.model == "some/model"
    assert found.dtype == "bfloat16"
    assert found.quantization is None
    assert found.kv_cache_dtype == "auto"
    assert (found.pipeline_parallel_size, found.tensor_parallel_size) == (2, 4)
    assert (found.block_size, found.max_num_batched_tokens) == (16, 2048)
    assert (found.max_model_len, found.max_num_seqs) == (8192, 128)
    assert found.execution == "eager"
    assert found.device_name == "a device"
    assert found.device_threads is None
    assert found.cpp_chunk_version == __version__


@pytest.mark.parametrize(
    ("setting", "value", "field"),
    [
        ("model_config.model", "other/model", "model"),
        ("model_config.hf_config", hf_config(hidden_size=512), "model_config_sha256"),
        ("model_config.hf_config", hf_config(text_config={"x": 1}), "model_config_sha256"),
        ("model_config.dtype", "float16", "dtype"),
        ("model_config.quantization", "fp8", "quantization"),
        ("model_config.max_model_len", 4096, "max_model_len"),
        ("cache_config.cache_dtype", "fp8", "kv_cache_dtype"),
        ("cache_config.block_size", 32, "block_size"),
        ("parallel_config.pipeline_parallel_size", 4, "pipeline_parallel_size"),
        ("parallel_config.tensor_parallel_size", 8, "tensor_parallel_size"),
        ("parallel_config.prefill_context_parallel_size", 2, "prefill_context_parallel_size"),
        ("parallel_config.decode_context_parallel_size", 2, "decode_context_parallel_size"),
        ("parallel_config.data_parallel_size", 2, "data_parallel_size"),
        ("parallel_config.enable_expert_parallel", True, "enable_expert_parallel"),
        ("parallel_config.nnodes", 2, "nnodes"),
        ("parallel_config.distributed_executor_backend", "ray", "distributed_executor_backend"),
        ("parallel_config.distributed_executor_backend", Executor, "distributed_executor_backend"),
        ("scheduler_config.max_num_batched_tokens", 4096, "max_num_batched_tokens"),
        ("scheduler_config.max_num_seqs", 64, "max_num_seqs"),
        (
            "scheduler_config.long_prefill_token_threshold",
            512,
            "long_prefill_token_threshold",
        ),
        ("scheduler_config.watermark", 0.2, "watermark"),
        ("scheduler_config.async_scheduling", True, "async_scheduling"),
        ("use_v2_model_runner", True, "use_v2_model_runner"),
        ("compilation_config.mode", Mode.VLLM_COMPILE, "execution"),
        ("compilation_config.cudagraph_mode", Mode.VLLM_COMPILE, "execution"),
        ("attention_config.backend", "FLASH_ATTN", "attention_backend"),
        ("speculative_config.method", "eagle", "speculative_method"),
        ("lora_config", object(), "enable_lora"),
        ("kv_transfer_config.kv_connector", "MooncakeConnectorV1", "kv_connector"),
        ("additional_config", {"enable_flashcomm1": True}, "platform_settings_sha256"),
    ],
)
def test_what_changes_the_timing_changes_the_digest(setting: str, value: Any, field: str) -> None:
    changed = of(**{setting: value})
    assert of().differences(changed) == [field]
    assert of().digest != changed.digest


def test_vllm_names_the_runner_and_the_limits_so() -> None:
    """Where a setting is missing nothing is said, so that another name would go unnoticed."""
    config = pytest.importorskip("vllm.config")
    limits = config.SchedulerConfig.default_factory(long_prefill_token_threshold=512, watermark=0.2)
    found = Deployment.of(
        SimpleNamespace(**(vars(vllm_config()) | {"scheduler_config": limits})), "a device"
    )
    assert found.long_prefill_token_threshold == 512
    assert found.watermark == 0.2
    assert isinstance(config.VllmConfig.use_v2_model_runner, property)


@pytest.mark.parametrize(
    "same",
    [
        hf_config(_name_or_path="elsewhere"),
        hf_config(transformers_version="6"),
        hf_config(text_config={"transformers_version": "6", "num_hidden_layers": 8}),
        hf_config(id2label={1: "b", 0: "a"}),
    ],
)
def test_where_a_model_comes_from_changes_nothing(same: Any) -> None:
    assert of(**{"model_config.hf_config": same}).digest == of().digest


@pytest.mark.parametrize(
    "additional",
    [
        None,
        {},
        {"profiling_chunk_config": {"enabled": True}},
        {"scheduler_config": {"profiling_chunk_config": {"enabled": True}}},
    ],
)
def test_our_own_settings_change_nothing(additional: Any) -> None:
    assert of(additional_config=additional).digest == of().digest


def test_what_ascend_reads_from_the_environment_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = of()
    monkeypatch.setenv("VLLM_ASCEND_ENABLE_FLASHCOMM1", "1")
    assert before.differences(of()) == ["platform_settings_sha256"]


def test_the_layer_split_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = iter([[4, 4], [5, 3]])
    monkeypatch.setattr("cpp_chunk.settings.deployment.layers_of_stages", lambda _: next(splits))
    assert of().differences(of()) == ["layers_of_stages"]


def test_threads_are_in_it_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0|1")
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    cpu = of(**{"device_config.device_type": "cpu"})
    assert cpu.device_threads == "0|1 of 2 cores"
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND")
    assert cpu.differences(of(**{"device_config.device_type": "cpu"})) == ["device_threads"]


def test_graphs_are_named() -> None:
    assert of(**{"compilation_config.mode": Mode.VLLM_COMPILE}).execution == (
        "graphs: VLLM_COMPILE, NONE"
    )


def test_a_configuration_of_another_release() -> None:
    """Whatever is missing, or is something else there, is not said."""
    config = SimpleNamespace(
        parallel_config=SimpleNamespace(pipeline_parallel_size=2, data_parallel_size="auto"),
        scheduler_config=SimpleNamespace(watermark="low"),
    )
    found = Deployment.of(config, "a device")
    assert found.block_size is None
    assert found.watermark is None
    assert found.use_v2_model_runner is None
    assert found.data_parallel_size is None
    assert found.prefill_context_parallel_size == 1
    assert Deployment.model_validate(found.model_dump()) == found


def test_a_digest_is_short_and_goes_by_content() -> None:
    one = deployment()
    read_again = Deployment.model_validate(json.loads(one.model_dump_json()))
    assert one.digest == read_again.digest
    assert len(one.digest) == 16
    assert int(one.digest, 16) >= 0


def test_frozen_and_closed() -> None:
    with pytest.raises(ValidationError):
        deployment(colour="red")
    with pytest.raises(ValidationError):
        deployment().model = "other"  # type: ignore[misc]


def test_the_name_of_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    platforms = SimpleNamespace(current_platform=SimpleNamespace(device_type="cpu"))
    monkeypatch.setitem(__import__("sys").modules, "vllm.platforms", platforms)
    text = "processor\t: 0\nmodel name\t: A Processor @ 2 GHz\nprocessor\t: 1\n"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
    assert device_name() == "A Processor @ 2 GHz"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "processor\t: 0\n")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert device_name() == "aarch64 CPU"


def test_the_name_of_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    platform = SimpleNamespace(device_type="cuda", get_device_name=lambda: "NVIDIA H100")
    platforms = SimpleNamespace(current_platform=platform)
    monkeypatch.setitem(__import__("sys").modules, "vllm.platforms", platforms)
    assert device_name() == "NVIDIA H100"

    def not_there() -> str:
        raise NotImplementedError

    platform.get_device_name = not_there
    assert device_name() == "cuda"
