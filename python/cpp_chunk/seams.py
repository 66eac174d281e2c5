"""The ledger: each place where we touch vLLM, why, how it is recognised, when it can go.

Everything else in the package is called from here or from the scheduler class that
`_derive_scheduler_cls` returns.

Two more touches need no patch of a class, since `Executor.collective_rpc` sends a function to the
worker: the step timer around its `model_runner.execute_model` (`cpp_chunk.worker.timer`), and the
buffer that the CPU backend lacks (`cpp_chunk.worker.first_step`).
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Function = Callable[..., Any]

# Carried by what we have put in, so that it is put in once.
_MARK = "_cpp_chunk_seam"


class SeamError(RuntimeError):
    """A seam is not where the ledger says. The message names it."""


@dataclass(frozen=True)
class Seam:
    """One patched attribute of a vLLM class."""

    module: str
    cls: str
    attribute: str
    why: str
    retire: str
    wrap: Callable[[Function], Function]

    @property
    def place(self) -> str:
        """The attribute's full name."""
        return f"{self.module}.{self.cls}.{self.attribute}"

    def is_loaded(self) -> bool:
        """Whether this process has imported the module at all."""
        return self.module in sys.modules

    def is_applied(self) -> bool:
        """Whether our function is there in this process."""
        owner = getattr(sys.modules.get(self.module), self.cls, None)
        return hasattr(getattr(owner, self.attribute, None), _MARK)

    def apply(self) -> None:
        """Patches the attribute; a second call does nothing.

        Raises:
            SeamError: the class or the attribute does not exist in this vLLM.
        """
        owner = getattr(importlib.import_module(self.module), self.cls, None)
        original = getattr(owner, self.attribute, None)
        if owner is None or original is None:
            raise SeamError(
                f"{self.place} does not exist: this vLLM has a shape that cpp_chunk does not know."
            )
        if hasattr(original, _MARK):
            return
        patched = functools.wraps(original)(self.wrap(original))
        setattr(patched, _MARK, True)
        is_bound = isinstance(inspect.getattr_static(owner, self.attribute), classmethod)
        setattr(owner, self.attribute, staticmethod(patched) if is_bound else patched)


def _check_in_front_end(original: Function) -> Function:
    def create_engine_config(self: Any, *args: Any, **kwargs: Any) -> Any:
        from cpp_chunk import front_end

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
        from cpp_chunk.ascend import take_over

        take_over(vllm_config)
        return original(vllm_config, *args, **kwargs)

    return check_and_update_config


def _learn_executor(original: Function) -> Function:
    def _initialize_kv_caches(self: Any, vllm_config: Any, *args: Any, **kwargs: Any) -> Any:
        from cpp_chunk.engine.context import attach

        result = original(self, vllm_config, *args, **kwargs)
        attach(vllm_config, self.model_executor)
        return result

    return _initialize_kv_caches


def _derive_scheduler_cls(original: Function) -> Function:
    def get_scheduler_cls(self: Any, *args: Any, **kwargs: Any) -> Any:
        from cpp_chunk.engine.context import attached

        base = original(self, *args, **kwargs)
        context = attached(self)
        if context is None:
            return base
        from cpp_chunk.engine.scheduler import derive

        return derive(base, context)

    return get_scheduler_cls


def _observe_wait(waits: Callable[[Any], bool]) -> Callable[[Function], Function]:
    """Tells the timer of what has waited, if `waits` has said of the instance that it would."""

    def wrap(original: Function) -> Function:
        def observed(self: Any, *args: Any, **kwargs: Any) -> Any:
            from cpp_chunk.worker.timer import StepTimer

            is_wait = waits(self)
            start_s = time.monotonic()
            result = original(self, *args, **kwargs)
            if is_wait:
                StepTimer.observe_wait(time.monotonic() - start_s)
            return result

        return observed

    return wrap


FRONT_END = Seam(
    module="vllm.engine.arg_utils",
    cls="EngineArgs",
    attribute="create_engine_config",
    why="refuse a wrong setting before a model loads, in the process that the user looks at",
    retire="when vLLM lets a plugin validate its own additional_config",
    wrap=_check_in_front_end,
)
ASCEND_PLATFORM = Seam(
    module="vllm_ascend.platform",
    cls="NPUPlatform",
    attribute="check_and_update_config",
    why="vllm-ascend has a version of this feature under the same key, and installs it here",
    retire="when vllm-ascend asks whether a plugin has taken its key",
    wrap=_take_key_over,
)
EXECUTOR = Seam(
    module="vllm.v1.engine.core",
    cls="EngineCore",
    attribute="_initialize_kv_caches",
    why="the last call before the scheduler is made: it knows the executor and the final "
    "configuration, which get_scheduler_cls is not given",
    retire="when the scheduler is constructed with access to the executor",
    wrap=_learn_executor,
)
SCHEDULER = Seam(
    module="vllm.config.scheduler",
    cls="SchedulerConfig",
    attribute="get_scheduler_cls",
    why="derive from whatever scheduler class was chosen, without --scheduler-cls and its warning",
    retire="when vLLM has a chunk-size policy interface",
    wrap=_derive_scheduler_cls,
)

LAZY_RECEIVE = Seam(
    module="vllm.v1.worker.gpu_worker",
    cls="AsyncIntermediateTensors",
    attribute="wait_for_comm",
    why="a stage's compute begins where the lazy receive has waited; the wait itself stays where "
    "vLLM has it",
    retire="when vLLM times a stage's forward pass itself",
    wrap=_observe_wait(lambda received: not vars(received).get("_comm_waited", False)),
)
TOKENS_V2 = Seam(
    module="vllm.v1.worker.gpu.pp_utils",
    cls="PPHandler",
    attribute="get_prev_sampled_outputs",
    why="with the V2 model runner a step begins with the wait for tokens that the last stage has "
    "sampled: a round trip through the pipeline, and no compute",
    retire="when vLLM times a stage's forward pass itself",
    wrap=_observe_wait(lambda _: True),
)
TOKENS_V1 = Seam(
    module="vllm.v1.worker.gpu_model_runner",
    cls="GPUModelRunner",
    attribute="_prepare_input_ids",
    why="with the V1 model runner and asynchronous scheduling the same wait is in here, from 0.28; "
    "before, it was where tokens are sampled, which is not timed",
    retire="when vLLM times a stage's forward pass itself",
    wrap=_observe_wait(lambda runner: getattr(runner, "_pp_recv_work", None) is not None),
)


def apply_loaded() -> list[str]:
    """Applies what this process can run: a module that it never imported needs no patch.

    Returns:
        What is not where the ledger says. Whether that matters is for the front end to judge:
        vLLM must start as it does without us where dynamic chunks are off.
    """
    missing = _apply(seam for seam in (FRONT_END, ASCEND_PLATFORM) if seam.is_loaded())
    return missing + (apply_engine() if EXECUTOR.is_loaded() else [])


def apply_engine() -> list[str]:
    """Applies the two seams of the engine core process; what is not where the ledger says."""
    return _apply((EXECUTOR, SCHEDULER))


def _apply(seams: Iterable[Seam]) -> list[str]:
    missing = []
    for seam in seams:
        try:
            seam.apply()
        except (SeamError, ImportError) as error:
            missing.append(str(error))
    return missing


def apply_worker() -> None:
    """Applies the seams of a worker process: each wait that its model runner may meet in a step."""
    for seam in (LAZY_RECEIVE, TOKENS_V2, TOKENS_V1):
        if seam.is_loaded() and hasattr(sys.modules[seam.module], seam.cls):
            seam.apply()
