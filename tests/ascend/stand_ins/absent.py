"""Stand-ins for packages that need an NPU: names can be read, nothing of them can be run."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from types import ModuleType
from typing import Any, NoReturn


class StandInError(RuntimeError):
    """Something of a package that is not here was to be run."""


class _Absent(type):
    """What an absent package's attribute is: a class, since annotations like `X | None` need one.

    It has any attribute (another such class), can be a base class, and raises when it is called.
    """

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        child = _absent(f"{cls.__module__}.{cls.__qualname__}", name)
        setattr(cls, name, child)
        return child

    def __call__(cls, *args: object, **kwargs: object) -> NoReturn:
        raise StandInError(f"{cls.__module__}.{cls.__qualname__} is a stand-in: it cannot run here")


def _absent(parent: str, name: str) -> Any:
    return _Absent(name, (), {"__module__": parent, "__qualname__": name})


class _AbsentModule(ModuleType):
    """A module that has any name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = _absent(self.__name__, name)
        setattr(self, name, value)
        return value


class _Submodules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds any submodule of the packages that stand in, where no file holds one."""

    def __init__(self) -> None:
        self.packages: set[str] = set()

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, rest = fullname.partition(".")
        if rest and package in self.packages:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _AbsentModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run: names come when they are asked for."""


_SUBMODULES = _Submodules()


def stand_in(name: str) -> ModuleType:
    """Makes the package that calls this, by its `__name__`, one whose names cannot be run."""
    if _SUBMODULES not in sys.meta_path:
        sys.meta_path.append(_SUBMODULES)
    _SUBMODULES.packages.add(name)
    module = sys.modules[name]
    module.__class__ = _AbsentModule
    return module
