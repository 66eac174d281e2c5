"""What the scheduler seam must know and is not told: the settings and the executor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cpp_chunk.settings.against_vllm import config_of

if TYPE_CHECKING:
    from cpp_chunk.settings.config import ProfilingChunkConfig

_ATTRIBUTE = "_cpp_chunk_context"


@dataclass(frozen=True)
class EngineContext:
    """One engine core's settings and its way to the workers."""

    config: ProfilingChunkConfig
    executor: Any


def attach(vllm_config: Any, executor: Any) -> None:
    """Leaves the context where `get_scheduler_cls` finds it, if dynamic chunks are switched on.

    Raises:
        ConfigError: a wrong setting that the front end has not seen (an engine core started
            without `EngineArgs`).
    """
    config = config_of(vllm_config)
    if config.enabled:
        vllm_config.scheduler_config.__dict__[_ATTRIBUTE] = EngineContext(config, executor)


def attached(scheduler_config: Any) -> EngineContext | None:
    """The context that `attach` left, or None: then vLLM runs as without us."""
    context: EngineContext | None = scheduler_config.__dict__.get(_ATTRIBUTE)
    return context
