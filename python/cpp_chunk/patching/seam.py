"""One patched attribute of a vLLM class: what it is, and how it is replaced."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Function = Callable[..., Any]
# Makes what stands in the attribute's place from what stood there.
Wrap = Callable[[Function], Function]

# Carried by what we have put in, so that it is put in once.
_MARK = "_cpp_chunk_seam"


class SeamError(RuntimeError):
    """A seam is not where the ledger says. The message names it."""


@dataclass(frozen=True)
class Seam:
    """One attribute of a vLLM class.

    Attributes:
        module: that the class stands in.
        cls: the class.
        attribute: a method, or a class method.
        why: what we patch it for.
        retire: when the patch can go.
    """

    module: str
    cls: str
    attribute: str
    why: str
    retire: str

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

    def apply(self, wrap: Wrap) -> None:
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
        patched = functools.wraps(original)(wrap(original))
        setattr(patched, _MARK, True)
        is_bound = isinstance(inspect.getattr_static(owner, self.attribute), classmethod)
        setattr(owner, self.attribute, staticmethod(patched) if is_bound else patched)
