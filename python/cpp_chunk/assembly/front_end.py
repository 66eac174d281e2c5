"""Refuse or accept: what the process that the user looks at says of settings and of this vLLM."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from cpp_chunk.compat.installed import UnknownShapeError, check_installed
from cpp_chunk.compat.release import UntestedReleaseError
from cpp_chunk.compat.scheduler_shape import UnknownSchedulerError
from cpp_chunk.engine.scheduler import check_base
from cpp_chunk.log import init_logger
from cpp_chunk.patching.seam import SeamError
from cpp_chunk.settings import ascend
from cpp_chunk.settings.against_vllm import hold_against
from cpp_chunk.settings.config import (
    IN_TREE,
    KEY,
    ConfigError,
    ProfilingChunkConfig,
    read_config,
    refuse_or_warn,
    warn_of_misspelt_key,
)

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
    # When prometheus_client is first imported it looks for the folder that vLLM makes for several
    # processes, and vLLM has made it by now.
    from cpp_chunk.report.metrics import register_metrics

    hold_against(config, vllm_config)
    if config.enabled:
        check_base(vllm_config.scheduler_config.get_scheduler_cls(), config)
        register_metrics()
        if ascend.is_asynchronous_on_v1(vllm_config):
            logger.warning(
                "asynchronous scheduling with pipeline parallelism and the V1 model runner: "
                "vllm-ascend advises against it for prefill; --no-async-scheduling switches it off"
            )
