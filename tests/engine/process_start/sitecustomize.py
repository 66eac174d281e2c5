"""Python runs this at the start of every process of an engine that a test starts: see environment.py.

What it may change of vLLM's CPU platform, each by an environment variable:
- workers are forked off their parent, which has imported vLLM already, in place of importing it anew;
- the V2 model runner with asynchronous scheduling, as on accelerators: its Triton kernels are
  interpreted, since no wheel has a Triton backend for the CPU.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

IS_FORKED = os.environ.get("CPP_CHUNK_TEST_FORK") == "1"
IS_ASYNCHRONOUS = os.environ.get("CPP_CHUNK_TEST_ASYNC") == "1"
CPU_PLATFORM = "vllm.platforms.cpu"


class AfterImport:
    """Calls a function with a module when that has been imported."""

    def __init__(self, name: str, then: Callable[[ModuleType], None]) -> None:
        self._name = name
        self._then = then

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != self._name:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self._then(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def change_platform(module: ModuleType) -> None:
    platform: Any = module.CpuPlatform  # type: ignore[attr-defined]
    check = platform.check_and_update_config.__func__

    def check_and_update_config(cls: Any, vllm_config: Any) -> None:
        check(cls, vllm_config)
        if IS_FORKED:
            os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
        if IS_ASYNCHRONOUS:
            vllm_config.scheduler_config.async_scheduling = True

    platform.check_and_update_config = classmethod(check_and_update_config)


def interpret_triton() -> None:
    """A backend named "cpu", which vLLM looks for; nothing is ever compiled for it."""
    os.environ.setdefault("TRITON_INTERPRET", "1")
    import torch
    import triton.backends
    from triton.backends.compiler import GPUTarget
    from triton.runtime.driver import driver

    class Driver:
        @staticmethod
        def is_active() -> bool:
            return True

        def get_active_torch_device(self) -> Any:
            return torch.device("cpu")

        def get_current_device(self) -> int:
            return 0

        def get_current_stream(self, device: int | None = None) -> int:
            return 0

        def get_device_interface(self) -> Any:
            return torch.cpu

        def get_current_target(self) -> Any:
            return GPUTarget("cpu", 0, 1)

    triton.backends.backends["cpu"] = triton.backends.Backend(compiler=None, driver=Driver)
    driver.set_active(Driver())


if IS_FORKED or IS_ASYNCHRONOUS:
    sys.meta_path.insert(0, AfterImport(CPU_PLATFORM, change_platform))
if os.environ.get("VLLM_USE_V2_MODEL_RUNNER") == "1":
    interpret_triton()
