"""The patcher on toy classes: once, and only where the ledger says."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from cpp_chunk.seams import Seam, SeamError


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    class Toy:
        def answer(self, number: int) -> int:
            """The toy's own words."""
            return number

    module = ModuleType("toy_module")
    module.Toy = Toy  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toy_module", module)
    return module


def seam(cls: str = "Toy", attribute: str = "answer") -> Seam:
    def wrap(original: Any) -> Any:
        return lambda self, number: original(self, number) + 1

    return Seam("toy_module", cls, attribute, why="a test", retire="never", wrap=wrap)


def test_a_seam_is_applied_once(toy: ModuleType) -> None:
    assert seam().is_loaded()
    seam().apply()
    seam().apply()
    assert toy.Toy().answer(1) == 2
    assert toy.Toy.answer.__doc__ == "The toy's own words."


@pytest.mark.parametrize(("cls", "attribute"), [("Other", "answer"), ("Toy", "question")])
def test_a_missing_place_is_named(toy: ModuleType, cls: str, attribute: str) -> None:
    with pytest.raises(SeamError, match=f"toy_module.{cls}.{attribute}"):
        seam(cls, attribute).apply()


def test_a_module_that_was_never_imported_is_left_alone() -> None:
    assert not seam().is_loaded()
