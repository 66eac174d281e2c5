"""Refuse or accept: the checks on the user's settings that need vLLM's configuration."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from cpp_chunk import ascend
from cpp_chunk.config import IN_TREE, KEY, ConfigError, ProfilingChunkConfig, read_config
from cpp_chunk.log import init_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = init_logger(__name__)


def check(vllm_config: Any) -> ProfilingChunkConfig:
    """Reads the settings and holds them against the rest of vLLM's configuration.

    Raises:
        ConfigError: one sentence with the key, its value and what is allowed.
    """
    config = read_config(ascend.settings_of(vllm_config))
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
    other = ascend.other_scheduling(vllm_config.additional_config)
    if other is not None:
        raise ConfigError(
            f"{KEY}.enabled is true but {other}: allowed is off, since that replaces the "
            "scheduler's choice of requests or chunks."
        )
    return config


@contextlib.contextmanager
def refusals_in_the_log() -> Iterator[None]:
    """Puts what we refuse into the log: the exception itself comes behind a long traceback."""
    from cpp_chunk.compat import UnknownShapeError, UntestedReleaseError
    from cpp_chunk.engine.shape import UnknownSchedulerError

    try:
        yield
    except (ConfigError, UntestedReleaseError, UnknownShapeError, UnknownSchedulerError) as error:
        logger.error("%s", error)  # noqa: TRY400
        raise


def accept_settings(additional_config: object) -> None:
    """Judges what can be judged before vLLM makes its configuration, let alone loads a model.

    Raises:
        ConfigError: a wrong setting.
        UntestedReleaseError: this vLLM is outside the supported range.
        UnknownShapeError: this vLLM has not what we rely on.
    """
    from cpp_chunk.compat import UnknownShapeError, UntestedReleaseError, check_installed

    config = read_config(additional_config)
    if config.implementation == IN_TREE and not ascend.is_active():
        raise ConfigError(
            f'{KEY}.implementation is "{IN_TREE}" but vLLM does not run on vllm-ascend: allowed '
            'is "cpp-chunk".'
        )
    if not config.enabled:
        return
    try:
        check_installed()
    except (UntestedReleaseError, UnknownShapeError) as error:
        if not config.allow_untested:
            raise
        logger.warning("%s Going on, since %s.allow_untested is true.", error, KEY)


def accept(vllm_config: Any) -> bool:
    """Whether dynamic chunks will run with this configuration.

    Raises:
        ConfigError: a wrong setting.
        UnknownSchedulerError: the chosen scheduler has a shape that we do not know.
    """
    from cpp_chunk.engine.scheduler import check_base
    from cpp_chunk.metrics import register_metrics

    config = check(vllm_config)
    if config.enabled:
        check_base(vllm_config.scheduler_config.get_scheduler_cls(), config)
        register_metrics()
    return config.enabled
