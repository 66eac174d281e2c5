"""Refuse or accept: the checks on the user's settings that need vLLM's configuration."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from cpp_chunk import ascend
from cpp_chunk.compat import UnknownShapeError, UntestedReleaseError, check_installed
from cpp_chunk.config import (
    IN_TREE,
    KEY,
    ConfigError,
    ProfilingChunkConfig,
    read_config,
    refuse_or_warn,
    warn_of_misspelt_key,
)
from cpp_chunk.engine.shape import UnknownSchedulerError
from cpp_chunk.log import init_logger
from cpp_chunk.seams import SeamError

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = init_logger(__name__)

_REFUSALS = (
    ConfigError,
    UntestedReleaseError,
    UnknownShapeError,
    SeamError,
    UnknownSchedulerError,
)


def check(vllm_config: Any) -> ProfilingChunkConfig:
    """Reads the settings and holds them against the rest of vLLM's configuration.

    Raises:
        ConfigError: one sentence with the key, its value and what is allowed.
    """
    config = read_config(ascend.settings_of(vllm_config))
    _hold_against(config, vllm_config)
    return config


def _hold_against(config: ProfilingChunkConfig, vllm_config: Any) -> None:
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


@contextlib.contextmanager
def refusals_in_the_log() -> Iterator[None]:
    """Puts what we refuse into the log: the exception itself comes behind a long traceback."""
    try:
        yield
    except _REFUSALS as error:
        logger.error("%s", error)  # noqa: TRY400
        raise


def accept_settings(additional_config: object) -> ProfilingChunkConfig:
    """Judges what can be judged before vLLM makes its configuration, let alone loads a model.

    Raises:
        ConfigError: a wrong setting.
        UntestedReleaseError: this vLLM is outside the supported range.
        UnknownShapeError: this vLLM has not what we rely on.
    """
    config = read_config(additional_config)
    warn_of_misspelt_key(additional_config)
    if config.implementation == IN_TREE and not ascend.is_active():
        raise ConfigError(
            f'{KEY}.implementation is "{IN_TREE}" but vLLM does not run on vllm-ascend: allowed '
            'is "cpp-chunk".'
        )
    if config.enabled:
        try:
            check_installed()
        except (UntestedReleaseError, UnknownShapeError) as error:
            refuse_or_warn(config, error)
    return config


def accept_seams(config: ProfilingChunkConfig, missing: list[str]) -> None:
    """Judges what of the ledger could not be patched in this process.

    Raises:
        SeamError: something, while dynamic chunks are switched on without `allow_untested`.
    """
    if config.enabled:
        for place in missing:
            refuse_or_warn(config, SeamError(place))


def accept(config: ProfilingChunkConfig, vllm_config: Any) -> None:
    """Judges vLLM's whole configuration.

    Args:
        config: what `accept_settings` has read of the same.
        vllm_config: vLLM's.

    Raises:
        ConfigError: a wrong setting.
        UnknownSchedulerError: the chosen scheduler has a shape that we do not know.
    """
    from cpp_chunk.engine.scheduler import check_base
    from cpp_chunk.metrics import register_metrics

    _hold_against(config, vllm_config)
    if config.enabled:
        check_base(vllm_config.scheduler_config.get_scheduler_cls(), config)
        register_metrics()
        if ascend.is_asynchronous_on_v1(vllm_config):
            logger.warning(
                "asynchronous scheduling with pipeline parallelism and the V1 model runner: "
                "vllm-ascend advises against it for prefill; --no-async-scheduling switches it off"
            )
