"""Whether a scheduler offers the seam that the mixin stands on.

The seam: `schedule()` calls `self._mamba_block_aligned_split` once in its RUNNING loop (request
and tokens) and once in its WAITING loop (the prefix hits as well), each under
`if self.need_mamba_block_aligned_split`. We look at the code's shape, not at a version number: at
a live class here, at a release's sources in `cpp_chunk.compat`.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

HOOK = "_mamba_block_aligned_split"
FLAG = "need_mamba_block_aligned_split"
# vLLM's name, in `schedule()`, for a request whose KV is loaded while steps go on.
_ASYNCHRONOUS_LOAD = "load_kv_async"
_PARAMETERS = (
    "self",
    "request",
    "num_new_tokens",
    "num_new_local_computed_tokens",
    "num_external_computed_tokens",
)
# RUNNING: the request and its tokens. WAITING: both hits as well; one more in 0.24 and 0.25.
_ARGUMENTS_RUNNING = 2
_ARGUMENTS_WAITING = (4, 5)


class UnknownSchedulerError(RuntimeError):
    """The scheduler class has a shape in which our seam is not where it should be."""


@dataclass(frozen=True)
class HookCall:
    """One place where `schedule()` asks the hook, under the flag.

    Attributes:
        num_arguments: that it hands over.
        line: where it stands in what was parsed.
        minds_loads: whether a condition around it looks at asynchronous loads of KV, for which
            it would be asked with 0 tokens.
    """

    num_arguments: int
    line: int
    minds_loads: bool


def check_scheduler_shape(cls: type[Any]) -> None:
    """Holds the class whose `schedule` really runs against the seam.

    Raises:
        UnknownSchedulerError: with what was looked for and not found.
    """
    name = f"{cls.__module__}.{cls.__qualname__}"
    hook = getattr(cls, HOOK, None)
    parameters = tuple(inspect.signature(hook).parameters) if hook is not None else None
    problem = scheduler_problem(name, parameters, _live_schedules(name, cls))
    if problem is not None:
        raise UnknownSchedulerError(problem)


def _live_schedules(name: str, cls: type[Any]) -> Iterator[tuple[str, ast.AST]]:
    for owner in cls.__mro__:
        if "schedule" not in owner.__dict__:
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(owner.__dict__["schedule"])))
        except (OSError, TypeError) as error:
            raise UnknownSchedulerError(
                f"scheduler class {name}: the source of {owner.__qualname__}.schedule cannot "
                f"be read ({error}), so its shape is not known."
            ) from error
        yield owner.__qualname__, tree


def scheduler_problem(
    name: str, hook_parameters: Sequence[str] | None, schedules: Iterable[tuple[str, ast.AST]]
) -> str | None:
    """What is not as the mixin needs it, as one sentence.

    Args:
        name: of the scheduler class.
        hook_parameters: of its hook; None where it has none.
        schedules: the class's own `schedule` and those of its bases, nearest first: the name of
            the class that each stands in, and its tree.
    """
    if hook_parameters is None:
        return (
            f"scheduler class {name} has no {HOOK}: cpp_chunk needs a scheduler derived from "
            "vLLM's own."
        )
    if tuple(hook_parameters[: len(_PARAMETERS)]) != _PARAMETERS:
        return (
            f"scheduler class {name}: {HOOK} takes {tuple(hook_parameters)}, allowed is "
            f"{_PARAMETERS}."
        )
    for owner, tree in schedules:
        calls = hook_calls(tree)
        if calls or not _calls_super_schedule(tree):
            return _calls_problem(name, owner, calls)
    return f"scheduler class {name} has no schedule() of a known shape."


def hook_calls(schedule: ast.AST) -> list[HookCall]:
    """The places where a `schedule` asks the hook under the flag, first to last."""
    return sorted(_calls_under(schedule, ()), key=lambda call: call.line)


def _calls_under(node: ast.AST, tests: tuple[ast.expr, ...]) -> Iterator[HookCall]:
    if isinstance(node, ast.If):
        tests = (*tests, node.test)
    if isinstance(node, ast.Call) and _is_self_attribute(node.func, HOOK):
        names = [inner for test in tests for inner in ast.walk(test)]
        minds_loads = any(_is_name(inner, _ASYNCHRONOUS_LOAD) for inner in names)
        if any(_is_self_attribute(inner, FLAG) for inner in names):
            yield HookCall(len(node.args) + len(node.keywords), node.lineno, minds_loads)
    for child in ast.iter_child_nodes(node):
        yield from _calls_under(child, tests)


def _calls_problem(name: str, owner: str, calls: Sequence[HookCall]) -> str | None:
    arguments = tuple(sorted(call.num_arguments for call in calls))
    if arguments in {(_ARGUMENTS_RUNNING, waiting) for waiting in _ARGUMENTS_WAITING}:
        return None
    return (
        f"scheduler class {name}: {owner}.schedule calls {HOOK} under {FLAG} "
        f"with {arguments} arguments, allowed is one call with {_ARGUMENTS_RUNNING} and one "
        f"with {' or '.join(map(str, _ARGUMENTS_WAITING))}."
    )


def _is_self_attribute(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == name and _is_name(node.value, "self")


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _calls_super_schedule(tree: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "schedule"
        and isinstance(node.func.value, ast.Call)
        and _is_name(node.func.value.func, "super")
        for node in ast.walk(tree)
    )
