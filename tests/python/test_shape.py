"""The scheduler's shape is recognised by its code, not by its version."""

from __future__ import annotations

from typing import Any

import pytest
from cpp_chunk.engine.shape import UnknownSchedulerError, check_scheduler_shape


class Known:
    need_mamba_block_aligned_split = False

    def _mamba_block_aligned_split(
        self,
        request: Any,
        num_new_tokens: int,
        num_new_local_computed_tokens: int = 0,
        num_external_computed_tokens: int = 0,
    ) -> int:
        return num_new_tokens

    def schedule(self) -> None:
        if self.need_mamba_block_aligned_split:
            self._mamba_block_aligned_split(None, 1)
        if self.need_mamba_block_aligned_split:
            self._mamba_block_aligned_split(None, 1, 2, 3)


class Derived(Known):
    """A user's own class that adds to schedule() and leaves the rest to its base."""

    def schedule(self) -> None:
        super().schedule()


class WithoutFlag(Known):
    def schedule(self) -> None:
        self._mamba_block_aligned_split(None, 1)
        self._mamba_block_aligned_split(None, 1, 2, 3)


class Replaced(Known):
    def schedule(self) -> None:
        return None


class OneLoop(Known):
    def schedule(self) -> None:
        if self.need_mamba_block_aligned_split:
            self._mamba_block_aligned_split(None, 1)


class OtherParameters(Known):
    def _mamba_block_aligned_split(self, num_new_tokens: int) -> int:  # type: ignore[override]
        return num_new_tokens


@pytest.mark.parametrize("cls", [Known, Derived])
def test_known_shapes(cls: type[Any]) -> None:
    check_scheduler_shape(cls)


@pytest.mark.parametrize("cls", [WithoutFlag, Replaced, OneLoop, OtherParameters, object])
def test_unknown_shapes_are_named(cls: type[Any]) -> None:
    with pytest.raises(UnknownSchedulerError, match=cls.__name__):
        check_scheduler_shape(cls)


def test_the_installed_vllm() -> None:
    async_scheduler = pytest.importorskip("vllm.v1.core.sched.async_scheduler")
    check_scheduler_shape(async_scheduler.AsyncScheduler)
    check_scheduler_shape(async_scheduler.Scheduler)
