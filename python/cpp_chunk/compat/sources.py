"""A release's sources, read without importing them."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Found:
    """What a name stands for.

    Attributes:
        module: in which it is defined, wherever else it is imported.
        name: there.
        node: its definition: a class, a function, or the statement that assigns it.
    """

    module: str
    name: str
    node: ast.AST


@dataclass(frozen=True)
class Parameters:
    """A function's parameters, `self` or `cls` left out.

    Attributes:
        positional: those that a position can fill, in order.
        keywords: those that only a name can fill.
        required: those of both without a default.
        takes_any: whether it takes keywords of any name.
    """

    positional: tuple[str, ...]
    keywords: tuple[str, ...]
    required: tuple[str, ...]
    takes_any: bool


class Sources:
    """Packages in folders.

    Args:
        roots: folders that hold packages, as `sys.path` does.
    """

    def __init__(self, *roots: Path) -> None:
        self._roots = roots
        # Many entries of a ledger ask for the same.
        self.module = functools.cache(self._module)
        self.find = functools.cache(self._find)
        self.attributes = functools.cache(self._attributes)

    def _module(self, name: str) -> ast.Module | None:
        """The module's tree; None where there is no such module."""
        path = self._path(name)
        return ast.parse(path.read_text(encoding="utf-8")) if path is not None else None

    def _path(self, name: str) -> Path | None:
        for root in self._roots:
            stem = root.joinpath(*name.split("."))
            for path in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
                if path.is_file():
                    return path
        return None

    def _find(self, module: str, name: str) -> Found | None:
        """What a name of a module stands for, through imports; None where it is not there."""
        return self._look_up(module, name, ())

    def _look_up(self, module: str, name: str, asked: tuple[str, ...]) -> Found | None:
        tree = self.module(module)
        if tree is None or module in asked:
            return None
        asked = (*asked, module)
        statements = list(_statements(tree.body))
        definitions = [one for one in statements if _defines(one, name)]
        if definitions:
            return Found(module, name, _most_telling(definitions))
        for statement in statements:
            if not isinstance(statement, ast.ImportFrom):
                continue
            source = self._imported_module(module, statement)
            for alias in statement.names:
                if alias.name != "*" and (alias.asname or alias.name) != name:
                    continue
                wanted = name if alias.name == "*" else alias.name
                found = self._look_up(source, wanted, asked)
                if found is not None:
                    return found
        return None

    def _imported_module(self, module: str, statement: ast.ImportFrom) -> str:
        if not statement.level:
            return statement.module or ""
        parts = module.split(".")
        path = self._path(module)
        is_package = path is not None and path.name == "__init__.py"
        kept = len(parts) - statement.level + int(is_package)
        return ".".join([*parts[:kept], *filter(None, [statement.module])])

    def bases(self, cls: Found) -> list[Found]:
        """The class and those that it derives from, nearest first, as far as they are in here.

        One that several derive from comes after them, as Python has it.
        """
        order = [cls]
        if isinstance(cls.node, ast.ClassDef):
            for base in cls.node.bases:
                found = self._base(cls.module, base)
                if found is not None:
                    order += self.bases(found)
        last = {(one.module, one.name): place for place, one in enumerate(order)}
        return [one for place, one in enumerate(order) if last[one.module, one.name] == place]

    def _base(self, module: str, base: ast.expr) -> Found | None:
        # Behind Generic[...] and the like.
        expression = base.value if isinstance(base, ast.Subscript) else base
        found = self.find(module, expression.id) if isinstance(expression, ast.Name) else None
        return found if found is not None and isinstance(found.node, ast.ClassDef) else None

    def method(self, cls: Found, name: str) -> Function | None:
        """The method that an instance has, its own or a base's."""
        return next((function for _, function in self.methods(cls, name)), None)

    def methods(self, cls: Found, name: str) -> Iterator[tuple[Found, Function]]:
        """The class's own method of this name and those of its bases, nearest first.

        Also one that a class merely announces, as an attribute whose type has a `__call__`; but
        none that a base leaves to be written.
        """
        for owner in self.bases(cls):
            own = [one for one in _functions(owner.node) if one.name == name]
            if owner != cls:
                own = [one for one in own if not _is_abstract(one)]
            own += self._announced(owner, name)
            if own:
                # Overloads stand before what they overload.
                yield owner, own[-1]

    def _announced(self, cls: Found, name: str) -> list[Function]:
        types = [
            self.find(cls.module, statement.annotation.id)
            for statement in getattr(cls.node, "body", ())
            if isinstance(statement, ast.AnnAssign)
            and ast.unparse(statement.target) == name
            and isinstance(statement.annotation, ast.Name)
        ]
        found = [self.method(one, "__call__") for one in types if one is not None]
        return [one for one in found if one is not None]

    def _attributes(self, cls: Found) -> set[str]:
        """All that an instance has by name: fields, methods, and what its methods set on it."""
        own, *others = self.bases(cls)
        inherited = {name for one in others for name in _attributes(one.node, with_abstract=False)}
        return {*_attributes(own.node), *inherited}


def parameters(function: Function) -> Parameters:
    """What a function or a method takes."""
    arguments = function.args
    places = [*arguments.posonlyargs, *arguments.args]
    with_default = {one.arg for one in places[len(places) - len(arguments.defaults) :]}
    with_default |= {
        one.arg
        for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is not None
    }
    names = [one.arg for one in places]
    if names[:1] in (["self"], ["cls"]):
        names = names[1:]
    keywords = tuple(one.arg for one in arguments.kwonlyargs)
    required = tuple(name for name in (*names, *keywords) if name not in with_default)
    return Parameters(tuple(names), keywords, required, arguments.kwarg is not None)


def calls(function: ast.AST) -> list[ast.Call]:
    """Every call in a function, in the order in which they are written."""
    found = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    return sorted(found, key=lambda call: (call.lineno, call.col_offset))


def has_slots(cls: ast.ClassDef) -> bool:
    """Whether instances take no attributes but those that the class names."""
    return "__slots__" in set(_attributes(cls)) or any(
        keyword.arg == "slots" and isinstance(keyword.value, ast.Constant) and keyword.value.value
        for decorator in cls.decorator_list
        if isinstance(decorator, ast.Call)
        for keyword in decorator.keywords
    )


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of a module, also where it has them under a condition."""
    for statement in body:
        yield statement
        for part in ("body", "orelse", "finalbody"):
            if isinstance(statement, ast.If | ast.Try | ast.With):
                yield from _statements(getattr(statement, part, ()))
        if isinstance(statement, ast.Try):
            for handler in statement.handlers:
                yield from _statements(handler.body)


def _defines(statement: ast.stmt, name: str) -> bool:
    if isinstance(statement, ast.ClassDef | Function):
        return statement.name == name
    return name in {target.id for target in _targets(statement) if isinstance(target, ast.Name)}


def _most_telling(definitions: list[ast.stmt]) -> ast.stmt:
    """A class or a function before what merely assigns the name; of overloads the last."""
    bodies = [one for one in definitions if isinstance(one, ast.ClassDef | Function)]
    return (bodies or definitions)[-1]


def _targets(node: ast.AST) -> Iterator[ast.expr]:
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    for target in targets:
        yield from target.elts if isinstance(target, ast.Tuple | ast.List) else [target]


def _functions(cls: ast.AST) -> Iterator[Function]:
    if isinstance(cls, ast.ClassDef):
        for statement in _statements(cls.body):
            if isinstance(statement, Function):
                yield statement


def _is_abstract(function: Function) -> bool:
    return any("abstract" in ast.unparse(one) for one in function.decorator_list)


def _attributes(cls: ast.AST, *, with_abstract: bool = True) -> Iterator[str]:
    if not isinstance(cls, ast.ClassDef):
        return
    for statement in _statements(cls.body):
        yield from (target.id for target in _targets(statement) if isinstance(target, ast.Name))
    for function in _functions(cls):
        if with_abstract or not _is_abstract(function):
            yield function.name
        for node in ast.walk(function):
            for target in _targets(node):
                if isinstance(target, ast.Attribute) and _is_self(target.value):
                    yield target.attr


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"
