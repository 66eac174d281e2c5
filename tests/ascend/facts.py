"""What a process with vllm-ascend's own code in it can say about which version of us will run."""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any, Self

IN_TREE_PATCH = "vllm_ascend.patch.platform.patch_profiling_chunk"


class Lines(logging.Handler):
    """Keeps what vLLM, vllm-ascend and we log while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        # Importing it sets the loggers' handlers.
        importlib.import_module("vllm.logger")
        logging.getLogger("vllm").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("vllm").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def qualified(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def in_tree_settings(ascend_config: Any) -> Any:
    """vllm-ascend's own reading of the key, wherever this release has it."""
    holder = getattr(ascend_config, "scheduler_config", ascend_config)
    return holder.profiling_chunk_config


def process_facts() -> dict[str, Any]:
    """Who has put what around vLLM's engine in this process."""
    from vllm.v1.engine.core import EngineCore, EngineCoreProc

    return {
        "is_in_tree_patch_loaded": IN_TREE_PATCH in sys.modules,
        "engine_core_init": qualified(EngineCore.__init__),
        "run_engine_core": qualified(EngineCoreProc.run_engine_core),
        "is_cpp_chunk_loaded": "cpp_chunk.plugin" in sys.modules,
        "is_our_seam_in": hasattr(EngineCore._initialize_kv_caches, "_cpp_chunk_seam"),
    }


def config_facts(vllm_config: Any) -> dict[str, Any]:
    """What this configuration makes of scheduler, worker and step timing."""
    from vllm.platforms import current_platform
    from vllm_ascend.ascend_config import get_ascend_config

    settings = in_tree_settings(get_ascend_config())
    chosen = vllm_config.scheduler_config.get_scheduler_cls()
    return {
        "platform": qualified(type(current_platform)),
        "worker_cls": vllm_config.parallel_config.worker_cls,
        "scheduler_cls": vllm_config.scheduler_config.scheduler_cls,
        "chosen": qualified(chosen),
        "chosen_mro": [qualified(base) for base in chosen.__mro__],
        "additional_config": sorted(vllm_config.additional_config),
        "nested_config": sorted(vllm_config.additional_config.get("scheduler_config", {})),
        "in_tree_enabled": settings.enabled,
        "in_tree_need_timing": settings.need_timing,
        "in_tree_min_chunk": settings.min_chunk,
        **process_facts(),
    }


def derived_facts(vllm_config: Any) -> dict[str, Any]:
    """The scheduler class of an engine core that has reached its scheduler, with us loaded."""
    from cpp_chunk.assembly.context import attach, attached

    attach(vllm_config, executor=None)
    context = attached(vllm_config.scheduler_config)
    derived = vllm_config.scheduler_config.get_scheduler_cls()
    facts = {
        "name": qualified(derived),
        "mro": [qualified(base) for base in derived.__mro__],
        "settings": None if context is None else context.config.model_dump(),
    }
    vllm_config.scheduler_config.__dict__.pop("_cpp_chunk_context", None)
    return facts
