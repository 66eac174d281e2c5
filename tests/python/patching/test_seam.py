"""The patcher on toy classes: once, and only where the ledger says."""

from __future__ import annotations

import logging
import sys
from types import ModuleType
from typing import Any

import pytest
from cpp_chunk.assembly import patches
from cpp_chunk.assembly.front_end import accept_seams
from cpp_chunk.patching.seam import Seam, SeamError
from cpp_chunk.plugin import register
from cpp_chunk.settings.config import ProfilingChunkConfig


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
    return Seam("toy_module", cls, attribute, why="a test", retire="never")


def one_more(original: Any) -> Any:
    return lambda self, number: original(self, number) + 1


def test_a_seam_is_applied_once(toy: ModuleType) -> None:
    assert seam().is_loaded()
    seam().apply(one_more)
    seam().apply(one_more)
    assert toy.Toy().answer(1) == 2
    assert toy.Toy.answer.__doc__ == "The toy's own words."


@pytest.mark.parametrize(("cls", "attribute"), [("Other", "answer"), ("Toy", "question")])
def test_a_missing_place_is_named(toy: ModuleType, cls: str, attribute: str) -> None:
    with pytest.raises(SeamError, match=f"toy_module.{cls}.{attribute}"):
        seam(cls, attribute).apply(one_more)


def test_a_module_that_was_never_imported_is_left_alone() -> None:
    assert not seam().is_loaded()
    assert not seam().is_applied()


def test_a_class_method_stays_one(toy: ModuleType) -> None:
    class WithClassMethod:
        @classmethod
        def answer(cls, number: int) -> tuple[type, int]:
            return cls, number

    toy.Toy = WithClassMethod  # type: ignore[attr-defined]

    def wrap(original: Any) -> Any:
        return lambda number: original(number + 1)

    seam().apply(wrap)
    assert toy.Toy.answer(1) == toy.Toy().answer(1) == (WithClassMethod, 2)


class TestAVllmWithoutASeam:
    """It starts as without us, unless dynamic chunks are switched on."""

    @pytest.fixture(autouse=True)
    def _missing(self, toy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(patches, "ASCEND_PLATFORM", seam(attribute="question"))

    def test_registering_raises_nothing(self) -> None:
        assert any("toy_module.Toy.question" in missing for missing in patches.apply_loaded())
        register()

    def test_switched_on_it_is_refused_or_warned_of(self, caplog: pytest.LogCaptureFixture) -> None:
        missing = patches.apply_loaded()
        accept_seams(ProfilingChunkConfig(), missing)
        with pytest.raises(SeamError, match=r"toy_module\.Toy\.question does not exist"):
            accept_seams(ProfilingChunkConfig(enabled=True), missing)
        logging.getLogger("vllm").propagate = True
        with caplog.at_level(logging.WARNING, logger="vllm"):
            accept_seams(ProfilingChunkConfig(enabled=True, allow_untested=True), missing)
        assert "Going on" in caplog.text
