"""Whether this vLLM's scheduler offers the seam that the mixin stands on.

The seam: `schedule()` calls `self._mamba_block_aligned_split` once in its RUNNING loop (request
and tokens) and once in its WAITING loop (the prefix hits as well), each under
`if self.need_mamba_block_aligned_split`. We look at the code's shape, not at a version number.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

HOOK = "_mamba_block_aligned_split"
FLAG = "need_mamba_block_aligned_split"
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


def _is_self_attribute(node: ast.AST, name: str) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr == name
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )


def _hook_calls(tree: ast.AST) -> Iterator[int]:
    """The number of arguments of each hook call that stands under the flag."""
    for branch in ast.walk(tree):
        if not isinstance(branch, ast.If):
            continue
        if not any(_is_self_attribute(node, FLAG) for node in ast.walk(branch.test)):
            continue
        for node in ast.walk(branch):
            if isinstance(node, ast.Call) and _is_self_attribute(node.func, HOOK):
                yield len(node.args) + len(node.keywords)


def _calls_super_schedule(tree: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "schedule"
        and isinstance(node.func.value, ast.Call)
        and isinstance(node.func.value.func, ast.Name)
        and node.func.value.func.id == "super"
        for node in ast.walk(tree)
    )


def check_scheduler_shape(cls: type[Any]) -> None:
    """Holds the class whose `schedule` really runs against the seam.

    Raises:
        UnknownSchedulerError: with what was looked for and not found.
    """
    name = f"{cls.__module__}.{cls.__qualname__}"
    hook = getattr(cls, HOOK, None)
    if hook is None:
        raise UnknownSchedulerError(
            f"scheduler class {name} has no {HOOK}: cpp_chunk needs a scheduler derived from "
            "vLLM's own."
        )
    parameters = tuple(inspect.signature(hook).parameters)
    if parameters[: len(_PARAMETERS)] != _PARAMETERS:
        raise UnknownSchedulerError(
            f"scheduler class {name}: {HOOK} takes {parameters}, allowed is {_PARAMETERS}."
        )
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
        calls = tuple(sorted(_hook_calls(tree)))
        if not calls and _calls_super_schedule(tree):
            continue
        if calls in {(_ARGUMENTS_RUNNING, waiting) for waiting in _ARGUMENTS_WAITING}:
            return
        raise UnknownSchedulerError(
            f"scheduler class {name}: {owner.__qualname__}.schedule calls {HOOK} under {FLAG} "
            f"with {calls} arguments, allowed is one call with {_ARGUMENTS_RUNNING} and one "
            f"with {' or '.join(map(str, _ARGUMENTS_WAITING))}."
        )
    raise UnknownSchedulerError(f"scheduler class {name} has no schedule() of a known shape.")
