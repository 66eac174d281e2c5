"""What goes into each place of the ledger: the only file that imports vLLM's side and ours."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from cpp_chunk.assembly import front_end, startup
from cpp_chunk.assembly.context import attach, attached
from cpp_chunk.engine.scheduler import derive
from cpp_chunk.patching.places import ASCEND_PLATFORM, EXECUTOR, FRONT_END, SCHEDULER
from cpp_chunk.patching.seam import SeamError
from cpp_chunk.settings.ascend import take_over

if TYPE_CHECKING:
    from cpp_chunk.patching.seam import Function, Seam, Wrap


def apply_loaded() -> list[str]:
    """Patches what this process can run: a module that it never imported needs no patch.

    Returns:
        What is not where the ledger says. Whether that matters is for the front end to judge:
        vLLM must start as it does without us where dynamic chunks are off.
    """
    missing = []
    for seam, wrap in ((FRONT_END, _check_in_front_end), (ASCEND_PLATFORM, _take_key_over)):
        if seam.is_loaded():
            missing += _apply(seam, wrap)
    return missing + (apply_engine() if EXECUTOR.is_loaded() else [])


def apply_engine() -> list[str]:
    """Patches the two places of the engine core process; what is not where the ledger says."""
    return _apply(EXECUTOR, _learn_executor) + _apply(SCHEDULER, _derive_scheduler_cls)


def _apply(seam: Seam, wrap: Wrap) -> list[str]:
    try:
        seam.apply(wrap)
    except (SeamError, ImportError) as error:
        return [str(error)]
    return []


def _check_in_front_end(original: Function) -> Function:
    def create_engine_config(self: Any, *args: Any, **kwargs: Any) -> Any:
        with front_end.refusals_in_the_log():
            config = front_end.accept_settings(self.additional_config)
            # Now the platform is loaded for certain.
            missing = apply_loaded()
            vllm_config = original(self, *args, **kwargs)
            if config.enabled:
                # Under fork the engine core inherits this process's patches and runs no plugin.
                missing += apply_engine()
            front_end.accept_seams(config, missing)
            front_end.accept(config, vllm_config)
        return vllm_config

    return create_engine_config


def _take_key_over(original: Function) -> Function:
    def check_and_update_config(vllm_config: Any, *args: Any, **kwargs: Any) -> Any:
        take_over(vllm_config)
        return original(vllm_config, *args, **kwargs)

    return check_and_update_config


def _learn_executor(original: Function) -> Function:
    def _initialize_kv_caches(self: Any, vllm_config: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, vllm_config, *args, **kwargs)
        attach(vllm_config, self.model_executor)
        return result

    return _initialize_kv_caches


def _derive_scheduler_cls(original: Function) -> Function:
    def get_scheduler_cls(self: Any, *args: Any, **kwargs: Any) -> Any:
        base = original(self, *args, **kwargs)
        context = attached(self)
        if context is None:
            return base
        return derive(base, context.config, functools.partial(startup.start, context=context))

    return get_scheduler_cls
