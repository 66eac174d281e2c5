"""Refuse or accept: the checks on the user's settings that need vLLM's configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from cpp_chunk.config import KEY, ConfigError, ProfilingChunkConfig, read_config
from cpp_chunk.log import init_logger

logger = init_logger(__name__)


def _balance_scheduling(vllm_config: Any) -> str | None:
    """Where Ascend's balance scheduling is switched on, if it is: it replaces `schedule()`."""
    if os.environ.get("VLLM_ASCEND_BALANCE_SCHEDULING", "0") not in ("", "0", "False", "false"):
        return f"VLLM_ASCEND_BALANCE_SCHEDULING={os.environ['VLLM_ASCEND_BALANCE_SCHEDULING']}"
    additional = vllm_config.additional_config
    places: list[tuple[str, Any]] = [("additional_config", additional)]
    if isinstance(additional, Mapping):
        places += [
            (f"additional_config {nested}", additional.get(nested))
            for nested in ("scheduler_config", "ascend_scheduler_config")
        ]
    for place, settings in places:
        if isinstance(settings, Mapping) and settings.get("enable_balance_scheduling"):
            return f"{place} enable_balance_scheduling={settings['enable_balance_scheduling']!r}"
    return None


def check(vllm_config: Any) -> ProfilingChunkConfig:
    """Reads the settings and holds them against the rest of vLLM's configuration.

    Raises:
        ConfigError: one sentence with the key, its value and what is allowed.
    """
    config = read_config(vllm_config.additional_config)
    if not config.enabled:
        return config
    stages = vllm_config.parallel_config.pipeline_parallel_size
    if stages == 1:
        raise ConfigError(
            f"{KEY}.enabled is true but pipeline_parallel_size is {stages}: "
            "allowed is 2 or more, since there is no pipeline to fill with one stage."
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
    balance = _balance_scheduling(vllm_config)
    if balance is not None:
        raise ConfigError(
            f"{KEY}.enabled is true but {balance}: allowed is off, since balance scheduling "
            "replaces the scheduler's choice of chunks."
        )
    return config


def accept(vllm_config: Any) -> bool:
    """Whether dynamic chunks will run with this configuration.

    Raises:
        ConfigError: a wrong setting.
        UnknownSchedulerError: this vLLM's scheduler has a shape that we do not know.
    """
    from cpp_chunk.engine.shape import UnknownSchedulerError, check_scheduler_shape
    from cpp_chunk.metrics import register_metrics

    try:
        config = check(vllm_config)
        if config.enabled:
            check_scheduler_shape(vllm_config.scheduler_config.get_scheduler_cls())
    except (ConfigError, UnknownSchedulerError) as error:
        # The exception comes at the end of a long traceback; this line can be searched for.
        logger.error("%s", error)  # noqa: TRY400
        raise
    if config.enabled:
        register_metrics()
    return config.enabled
