"""Holds a release's sources against the ledger of what we rely on."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from cpp_chunk.compat.relied_on import SCHEDULERS
from cpp_chunk.compat.scheduler_shape import HOOK, scheduler_problem
from cpp_chunk.compat.sources import Found, Function, calls, has_slots, parameters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cpp_chunk.compat.relied_on import Reliance, SeamName
    from cpp_chunk.compat.sources import Sources

Problems = dict["SeamName", list[str]]


def check_vllm(sources: Sources, ledger: Iterable[Reliance]) -> Problems:
    """What of the ledger a vLLM has not, and how its schedulers differ from the shapes we know.

    Returns:
        By seam, phrases that name what is missing; a seam that is as we know it has none.
    """
    problems = check_ledger(sources, ledger)
    for module, name in SCHEDULERS:
        problem = check_scheduler(sources, module, name)
        if problem is not None:
            problems.setdefault("scheduler", []).append(problem)
    return problems


def check_ledger(sources: Sources, ledger: Iterable[Reliance]) -> Problems:
    """What of the ledger these sources have not, by seam."""
    problems: Problems = {}
    for reliance in ledger:
        found = list(_problems(sources, reliance))
        if found:
            problems.setdefault(reliance.seam, []).extend(found)
    return problems


def check_scheduler(sources: Sources, module: str, name: str) -> str | None:
    """What of a scheduler class is not of a known shape; None where it is."""
    cls = sources.find(module, name)
    if cls is None:
        return f"there is no {module}.{name}"
    hook = sources.method(cls, HOOK)
    return scheduler_problem(
        f"{cls.module}.{cls.name}",
        ("self", *parameters(hook).positional) if hook is not None else None,
        ((owner.name, function) for owner, function in sources.methods(cls, "schedule")),
    )


def _problems(sources: Sources, reliance: Reliance) -> Iterator[str]:
    owner_name, _, member = reliance.name.rpartition(".")
    owner = sources.find(reliance.module, owner_name or member)
    if owner is None:
        if reliance.without is None:
            yield f"there is no {reliance.module}.{owner_name or member}"
        return
    if owner_name:
        function = sources.method(owner, member)
        if function is None:
            yield f"{reliance.module}.{owner_name} has no {member}"
        else:
            yield from _function_problems(function, reliance)
    elif isinstance(owner.node, Function):
        yield from _function_problems(owner.node, reliance)
    elif isinstance(owner.node, ast.ClassDef):
        yield from _class_problems(sources, owner, reliance)
    elif reliance.positional is not None or reliance.attributes:
        yield f"{reliance.place} is neither a class nor a function"


def _class_problems(sources: Sources, cls: Found, reliance: Reliance) -> Iterator[str]:
    missing = sorted(set(reliance.attributes) - sources.attributes(cls))
    if missing:
        yield f"{reliance.place} has no {', '.join(missing)}"
    # A base without slots is enough for attributes of any name.
    if reliance.carries and all(
        has_slots(one.node) for one in sources.bases(cls) if isinstance(one.node, ast.ClassDef)
    ):
        yield f"{reliance.place} takes no attributes but its own"


def _function_problems(function: Function, reliance: Reliance) -> Iterator[str]:
    if reliance.positional is not None:
        yield from _parameter_problems(function, reliance, reliance.positional)
    yield from _call_problems(function, reliance)
    yield from _made_problems(function, reliance)
    branches = {
        ast.unparse(node.test)
        for node in ast.walk(function)
        if isinstance(node, ast.If) and node.orelse
    }
    for test in reliance.branches:
        if test not in branches:
            yield f"{reliance.place} does not tell apart whether {test}"


def _made_problems(function: Function, reliance: Reliance) -> Iterator[str]:
    if reliance.makes is None:
        return
    maker, known = reliance.makes
    made = {
        target.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and _calls(node.value, maker)
        for target in node.targets
        if isinstance(target, ast.Attribute)
    }
    if unknown := sorted(made - set(known)):
        yield f"{reliance.place} makes {', '.join(unknown)} with {maker}: known are {known}"
    if not made & set(known):
        yield f"{reliance.place} makes none of {known} with {maker}"


def _parameter_problems(
    function: Function, reliance: Reliance, positional: tuple[str, ...]
) -> Iterator[str]:
    has = parameters(function)
    if has.positional[: len(positional)] != positional:
        yield f"{reliance.place} takes {has.positional}, and we hand over {positional}"
        return
    others = {*has.positional[len(positional) :], *has.keywords}
    missing = [name for name in reliance.keywords if name not in others and not has.takes_any]
    if missing:
        yield f"{reliance.place} does not take {', '.join(missing)}"
    wanted = [name for name in has.required if name not in {*positional, *reliance.keywords}]
    if wanted:
        yield f"{reliance.place} also wants {', '.join(wanted)}"


def _call_problems(function: Function, reliance: Reliance) -> Iterator[str]:
    made = calls(function)
    after = 0
    for name in reliance.calls:
        places = [place for place, call in enumerate(made) if _calls(call, name)]
        if not any(place >= after for place in places):
            order = " after what comes before it" if places else ""
            yield f"{reliance.place} does not call {name}{order}"
            return
        after = next(place for place in places if place >= after)
        most = max(len(made[place].args) for place in places)
        if reliance.most_arguments is not None and most > reliance.most_arguments:
            yield (
                f"{reliance.place} calls {name} with {most} arguments, allowed are "
                f"{reliance.most_arguments}"
            )


def _calls(call: ast.Call, name: str) -> bool:
    """Whether it is of this name, or of an attribute of this name of whatever."""
    called = ast.unparse(call.func)
    return called == name or called.endswith(f".{name}")
