"""The user's settings held against the rest of vLLM's configuration."""

from __future__ import annotations

from typing import Any

from cpp_chunk.settings import ascend
from cpp_chunk.settings.config import KEY, ConfigError, ProfilingChunkConfig, read_config


def config_of(vllm_config: Any) -> ProfilingChunkConfig:
    """Reads the settings and holds them against the rest of vLLM's configuration.

    Raises:
        ConfigError: one sentence with the key, its value and what is allowed.
    """
    config = read_config(ascend.settings_of(vllm_config))
    hold_against(config, vllm_config)
    return config


def hold_against(config: ProfilingChunkConfig, vllm_config: Any) -> None:
    """Refuses what cannot run; settings that are switched off always can.

    Raises:
        ConfigError: one sentence with the key, its value and what is allowed.
    """
    if not config.enabled:
        return
    stages = vllm_config.parallel_config.pipeline_parallel_size
    if stages == 1:
        raise ConfigError(
            f"{KEY}.enabled is true but pipeline_parallel_size is {stages}: "
            "allowed is 2 or more, since there is no pipeline to fill with one stage."
        )
    if not _reaches_all_stages(vllm_config):
        backend = vllm_config.parallel_config.distributed_executor_backend
        raise ConfigError(
            f"{KEY}.enabled is true but distributed_executor_backend is {backend}: allowed is one "
            "that reaches all stages, such as mp or ray, since with this one each rank schedules "
            "for itself and sees the times of its own stage only."
        )
    if not vllm_config.scheduler_config.enable_chunked_prefill:
        raise ConfigError(
            f"{KEY}.enabled is true but enable_chunked_prefill is False: "
            "allowed is true, since dynamic chunks are chunks of a prefill."
        )
    if config.max_step_ms is not None and config.smooth_factor == 0:
        raise ConfigError(
            f"{KEY}.max_step_ms is {config.max_step_ms:g} but smooth_factor is 0: allowed is null, "
            "since fixed chunks keep no step time."
        )
    other = ascend.other_scheduling(vllm_config.additional_config)
    if other is not None:
        raise ConfigError(
            f"{KEY}.enabled is true but {other}: allowed is off, since that replaces the "
            "scheduler's choice of requests or chunks."
        )


def _reaches_all_stages(vllm_config: Any) -> bool:
    if vllm_config.parallel_config.distributed_executor_backend in {"mp", "ray"}:
        return True
    from vllm.v1.executor.abstract import Executor
    from vllm.v1.executor.uniproc_executor import UniProcExecutor

    # Whatever is derived from it has one worker: external_launcher, and classes that users bring.
    return not issubclass(Executor.get_class(vllm_config), UniProcExecutor)
