"""Whether a release schedules asynchronously by default with pipeline parallelism.

It is read off the code that decides it, with a text model on the multiprocess executor; where that
code looks at more than is known here, the answer is that its shape is not recognised.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.releases.known_values import PRESENT, UNKNOWN, KnownValues

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cpp_chunk.compat.sources import Sources

NOT_RECOGNISED: Final = "shape not recognised"
_STAGES: Final = 4
_CHOICE: Final = "self.scheduler_config.async_scheduling"
_PLATFORMS_CHOICE: Final = "scheduler_config.async_scheduling"
_RUNNER: Final = "self.use_v2_model_runner"
_IN_FLIGHT: Final = {_STAGES: "pp", _STAGES + 1: "pp + 1"}
_TEXT_MODEL: Final[Mapping[str, Any]] = {
    _CHOICE: None,
    "self.parallel_config.pipeline_parallel_size": _STAGES,
    "self.model_config": PRESENT,
    "self.model_config.runner_type": "generate",
    "self.model_config.is_submodel_config": False,
    "self.speculative_config": None,
    "current_platform.is_rocm()": False,
}


@dataclass(frozen=True)
class Default:
    """What a release does on one kind of worker.

    Attributes:
        is_async: None where the shape of the code is not recognised.
        in_flight: the batches under way, in words.
    """

    is_async: bool | None
    in_flight: str

    def __str__(self) -> str:
        if self.is_async is None or self.in_flight == NOT_RECOGNISED:
            return NOT_RECOGNISED
        return f"{'on' if self.is_async else 'off'}, {self.in_flight}"


def default_on_cpu(sources: Sources) -> Default:
    """The platform switches it off there, whatever was chosen."""
    platform = sources.find("vllm.platforms.cpu", "CpuPlatform")
    update = sources.method(platform, "check_and_update_config") if platform is not None else None
    body = update.body if update is not None else []
    known = {"vllm_config.model_config": PRESENT}
    chosen = KnownValues(known).after(body, _PLATFORMS_CHOICE)
    return _with_in_flight(sources, chosen, uses_v2=False)


def default_on_device(sources: Sources, *, uses_v2: bool) -> Default:
    """What `VllmConfig` chooses with one of the two model runners."""
    config = sources.find("vllm.config.vllm", "VllmConfig")
    executor = sources.find("vllm.v1.executor.multiproc_executor", "MultiprocExecutor")
    supports = sources.method(executor, "supports_async_scheduling") if executor else None
    deciding = [
        node
        for node in (config.node.body if config and isinstance(config.node, ast.ClassDef) else ())
        if isinstance(node, ast.FunctionDef) and _sets_choice(node)
    ]
    if supports is None or len(deciding) != 1:
        return Default(None, NOT_RECOGNISED)
    known = {
        **_TEXT_MODEL,
        _RUNNER: uses_v2,
        "executor_class.supports_async_scheduling()": KnownValues({}).returned(supports.body),
    }
    return _with_in_flight(
        sources, KnownValues(known).after(_up_to_choice(deciding[0]), _CHOICE), uses_v2=uses_v2
    )


def _sets_choice(node: ast.AST) -> bool:
    return any(
        isinstance(target, ast.Attribute)
        and isinstance(target.ctx, ast.Store)
        and ast.unparse(target) == _CHOICE
        for target in ast.walk(node)
    )


def _up_to_choice(function: ast.FunctionDef) -> list[ast.stmt]:
    """What is behind it may end the start, but does not choose any more."""
    last = max(place for place, one in enumerate(function.body) if _sets_choice(one))
    return function.body[: last + 1]


def _with_in_flight(sources: Sources, chosen: Any, *, uses_v2: bool) -> Default:
    if not isinstance(chosen, bool):
        return Default(None, NOT_RECOGNISED)
    config = sources.find("vllm.config.vllm", "VllmConfig")
    batches = sources.method(config, "max_concurrent_batches") if config is not None else None
    known = {**_TEXT_MODEL, _CHOICE: chosen, _RUNNER: uses_v2}
    number = KnownValues(known).returned(batches.body) if batches is not None else UNKNOWN
    in_flight = _IN_FLIGHT.get(number, NOT_RECOGNISED) if isinstance(number, int) else None
    return Default(chosen, in_flight or NOT_RECOGNISED)
