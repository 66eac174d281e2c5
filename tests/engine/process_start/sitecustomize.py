"""Python runs this at the start of every process of an engine: see ../environment.py.

vLLM's CPU platform spawns its workers, each of which imports vLLM anew. Here they are forked off
their parent, which has imported it already.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

CPU_PLATFORM = "vllm.platforms.cpu"


class ForkAfterImport:
    """Finds the platform's module, and changes it when it has been imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == CPU_PLATFORM else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            fork_workers(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def fork_workers(module: Any) -> None:
    check = module.CpuPlatform.check_and_update_config.__func__

    def check_and_update_config(cls: Any, vllm_config: Any) -> None:
        check(cls, vllm_config)
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"

    module.CpuPlatform.check_and_update_config = classmethod(check_and_update_config)


sys.meta_path.insert(0, ForkAfterImport())
