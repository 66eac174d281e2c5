"""A deployment: all that changes how long a step takes, so that a profile is used where it holds.

Fields are readable, so that a user sees in what two profiles differ. Where a vLLM release has no
such setting, the field is None.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from cpp_chunk import __version__
from cpp_chunk.settings.config import PARENT_KEY, edited, without_key
from cpp_chunk.settings.model_shape import layers_of_stages

_TEXT: Final = "a text"
_TEXT_OR_NULL: Final = "a text, or null"
_SIZE: Final = "a whole number of at least 1"
_SIZE_OR_NULL: Final = "a whole number of at least 1, or null"
_SHARE_OR_NULL: Final = "a number of at least 0 and below 1, or null"
_FLAG_OR_NULL: Final = "true, false, or null"
_SHA256: Final = "^[0-9a-f]{64}$"
_DIGEST_DIGITS: Final = 16
# Entries of a model's configuration that say where it came from, not what it is.
_VOLATILE = frozenset({"_name_or_path", "name_or_path", "transformers_version", "_commit_hash"})


class Deployment(BaseModel):
    """What a profile was taken of."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())

    model: str = Field(description=_TEXT)
    model_config_sha256: str = Field(
        pattern=_SHA256, description="64 hexadecimal digits, of the model's configuration"
    )
    dtype: str | None = Field(default=None, description=_TEXT_OR_NULL)
    quantization: str | None = Field(default=None, description=_TEXT_OR_NULL)
    kv_cache_dtype: str | None = Field(default=None, description=_TEXT_OR_NULL)
    pipeline_parallel_size: int = Field(ge=1, description=_SIZE)
    tensor_parallel_size: int | None = Field(default=None, ge=1, description=_SIZE_OR_NULL)
    prefill_context_parallel_size: int = Field(default=1, ge=1, description=_SIZE)
    decode_context_parallel_size: int = Field(default=1, ge=1, description=_SIZE)
    data_parallel_size: int | None = Field(default=None, ge=1, description=_SIZE_OR_NULL)
    enable_expert_parallel: bool | None = Field(default=None, description=_FLAG_OR_NULL)
    nnodes: int = Field(default=1, ge=1, description=_SIZE)
    # A list in the file; strict checking takes no list for a tuple.
    layers_of_stages: list[int] | None = Field(
        default=None, description="a list of whole numbers, one a stage, or null"
    )
    block_size: int | None = Field(default=None, ge=1, description=_SIZE_OR_NULL)
    max_num_batched_tokens: int | None = Field(default=None, ge=1, description=_SIZE_OR_NULL)
    max_model_len: int | None = Field(default=None, ge=1, description=_SIZE_OR_NULL)
    max_num_seqs: int | None = Field(default=None, ge=1, description=_SIZE_OR_NULL)
    # These two clip chunks and histories, those of the profile's passes as well.
    long_prefill_token_threshold: int | None = Field(default=None, ge=1, description=_SIZE_OR_NULL)
    watermark: float | None = Field(default=None, ge=0, lt=1, description=_SHARE_OR_NULL)
    async_scheduling: bool | None = Field(default=None, description=_FLAG_OR_NULL)
    use_v2_model_runner: bool | None = Field(default=None, description=_FLAG_OR_NULL)
    execution: str = Field(description='"eager", or "graphs: " and vLLM\'s two modes')
    attention_backend: str | None = Field(default=None, description=_TEXT_OR_NULL)
    speculative_method: str | None = Field(default=None, description=_TEXT_OR_NULL)
    kv_connector: str | None = Field(default=None, description=_TEXT_OR_NULL)
    platform_settings_sha256: str | None = Field(
        default=None,
        pattern=_SHA256,
        description="64 hexadecimal digits, of additional_config without our key and of the "
        "environment variables VLLM_ASCEND_..., or null",
    )
    enable_lora: bool = Field(default=False, description="true or false")
    device_name: str = Field(description=_TEXT)
    device_threads: str | None = Field(default=None, description=_TEXT_OR_NULL)
    distributed_executor_backend: str | None = Field(default=None, description=_TEXT_OR_NULL)
    vllm_version: str | None = Field(default=None, description=_TEXT_OR_NULL)
    cpp_chunk_version: str = Field(description=_TEXT)
    torch_version: str | None = Field(default=None, description=_TEXT_OR_NULL)
    vllm_ascend_version: str | None = Field(default=None, description=_TEXT_OR_NULL)
    torch_npu_version: str | None = Field(default=None, description=_TEXT_OR_NULL)

    @classmethod
    def of(cls, vllm_config: Any, device_name: str) -> Deployment:
        """The deployment that vLLM's final configuration describes.

        Args:
            vllm_config: after `create_engine_config`; the same in the engine core.
            device_name: what `device_name()` says where the workers run.
        """
        of = functools.partial(_setting, vllm_config)
        size = functools.partial(_size, vllm_config)
        flag = functools.partial(_flag, vllm_config)
        return cls(
            model=str(of("model_config.model")),
            model_config_sha256=_model_config_sha256(of("model_config.hf_config")),
            dtype=_name(of("model_config.dtype")),
            quantization=_name(of("model_config.quantization")),
            kv_cache_dtype=_name(of("cache_config.cache_dtype")),
            pipeline_parallel_size=vllm_config.parallel_config.pipeline_parallel_size,
            tensor_parallel_size=size("parallel_config.tensor_parallel_size"),
            prefill_context_parallel_size=size("parallel_config.prefill_context_parallel_size")
            or 1,
            decode_context_parallel_size=size("parallel_config.decode_context_parallel_size") or 1,
            data_parallel_size=size("parallel_config.data_parallel_size"),
            enable_expert_parallel=flag("parallel_config.enable_expert_parallel"),
            nnodes=size("parallel_config.nnodes") or 1,
            layers_of_stages=_layers_of_stages(vllm_config),
            block_size=size("cache_config.block_size"),
            max_num_batched_tokens=size("scheduler_config.max_num_batched_tokens"),
            max_model_len=size("model_config.max_model_len"),
            max_num_seqs=size("scheduler_config.max_num_seqs"),
            # vLLM says 0 where there is none.
            long_prefill_token_threshold=size("scheduler_config.long_prefill_token_threshold"),
            watermark=_share(vllm_config, "scheduler_config.watermark"),
            async_scheduling=flag("scheduler_config.async_scheduling"),
            use_v2_model_runner=flag("use_v2_model_runner"),
            execution=_execution(
                _name(of("compilation_config.mode")),
                _name(of("compilation_config.cudagraph_mode")),
            ),
            attention_backend=_name(of("attention_config.backend")),
            speculative_method=_name(of("speculative_config.method")),
            kv_connector=_name(of("kv_transfer_config.kv_connector")),
            platform_settings_sha256=_platform_settings_sha256(of("additional_config")),
            enable_lora=of("lora_config") is not None,
            device_name=device_name,
            device_threads=_cpu_threads() if of("device_config.device_type") == "cpu" else None,
            distributed_executor_backend=_name(of("parallel_config.distributed_executor_backend")),
            vllm_version=_vllm_version(),
            cpp_chunk_version=__version__,
            torch_version=_version("torch"),
            vllm_ascend_version=_version("vllm-ascend"),
            torch_npu_version=_version("torch-npu"),
        )

    @property
    def digest(self) -> str:
        """A short name: equal deployments have equal ones."""
        return hashlib.sha256(_canonical(self.model_dump())).hexdigest()[:_DIGEST_DIGITS]

    def differences(self, other: Deployment) -> list[str]:
        """Names of the fields in which they differ."""
        names = type(self).model_fields
        return [name for name in names if getattr(self, name) != getattr(other, name)]


def device_name() -> str:
    """What the accelerator calls itself, or the processor, where vLLM runs on the CPU.

    In a worker or in the front end alike: vLLM asks without a context on the device.
    """
    from vllm.platforms import current_platform

    if current_platform.device_type == "cpu":
        # vLLM says "cpu" of all of them.
        return _cpu_name()
    try:
        return str(current_platform.get_device_name())
    except Exception:  # noqa: BLE001 - each platform's library raises its own, over a mere name
        return str(current_platform.device_type)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    # Arm's processors have no name there.
    return f"{platform.machine()} CPU"


def _cpu_threads() -> str:
    # Not this process's own cores: vLLM binds its processes to some of them.
    bound = os.environ.get("VLLM_CPU_OMP_THREADS_BIND") or "auto"
    return f"{bound} of {os.cpu_count()} cores"


def _setting(vllm_config: Any, path: str) -> Any:
    """A setting that not every vLLM release has; None where it is missing."""
    return functools.reduce(
        lambda owner, name: getattr(owner, name, None), path.split("."), vllm_config
    )


def _size(vllm_config: Any, path: str) -> int | None:
    value = _setting(vllm_config, path)
    return value if isinstance(value, int) and value >= 1 else None


def _share(vllm_config: Any, path: str) -> float | None:
    value = _setting(vllm_config, path)
    return float(value) if isinstance(value, int | float) and 0 <= value < 1 else None


def _flag(vllm_config: Any, path: str) -> bool | None:
    value = _setting(vllm_config, path)
    return None if value is None else bool(value)


def _name(value: Any) -> str | None:
    """A setting in words: text, vLLM's enumerations, torch's dtypes, or classes."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    return str(getattr(value, "name", value)).removeprefix("torch.")


def _execution(mode: str | None, cudagraph_mode: str | None) -> str:
    modes = [name or "NONE" for name in (mode, cudagraph_mode)]
    return "eager" if modes == ["NONE", "NONE"] else f"graphs: {', '.join(modes)}"


def _layers_of_stages(vllm_config: Any) -> list[int] | None:
    try:
        return layers_of_stages(vllm_config)
    except (AttributeError, ImportError):
        return None


def _model_config_sha256(hf_config: Any) -> str:
    to_dict = getattr(hf_config, "to_dict", None)
    values = to_dict() if to_dict is not None else None
    return hashlib.sha256(_canonical(_without_volatile(values))).hexdigest()


def _platform_settings_sha256(additional_config: Any) -> str | None:
    """What else plugins and platforms were told: on some of them that chooses kernels."""
    settings = (
        edited(additional_config, without_key) if isinstance(additional_config, Mapping) else {}
    )
    if not settings.get(PARENT_KEY):
        settings.pop(PARENT_KEY, None)
    settings |= {
        name: value for name, value in os.environ.items() if name.startswith("VLLM_ASCEND_")
    }
    return hashlib.sha256(_canonical(settings)).hexdigest() if settings else None


def _without_volatile(values: Any) -> Any:
    """The same without the volatile entries, in nested configurations as well."""
    if isinstance(values, dict):
        return {
            # Labels are numbered by integers, which do not sort among names.
            str(key): _without_volatile(value)
            for key, value in values.items()
            if key not in _VOLATILE
        }
    if isinstance(values, list | tuple):
        return [_without_volatile(value) for value in values]
    return values


def _canonical(values: Any) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), default=str).encode()


def _vllm_version() -> str | None:
    try:
        # The distribution is named otherwise for some devices.
        from vllm.version import __version__
    except ImportError:
        return None
    return str(__version__)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
