"""The scheduler's shape is recognised by its code, not by its version."""

from __future__ import annotations

import ast
import inspect
import textwrap
from pathlib import Path
from typing import Any

import pytest
from cpp_chunk.compat.scheduler_shape import (
    UnknownSchedulerError,
    check_scheduler_shape,
    hook_calls,
)
from cpp_chunk.compat.source_check import check_scheduler
from cpp_chunk.compat.sources import Sources


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


class MindsLoads(Known):
    def schedule(self) -> None:
        load_kv_async = False
        if self.need_mamba_block_aligned_split:
            self._mamba_block_aligned_split(None, 1)
        if load_kv_async:
            pass
        elif self.need_mamba_block_aligned_split:
            self._mamba_block_aligned_split(None, 1, 2, 3)


KNOWN = [Known, Derived, MindsLoads]
UNKNOWN = [WithoutFlag, Replaced, OneLoop, OtherParameters]


def problem_in_source(cls: type[Any]) -> str | None:
    """What the check of sources, which imports nothing, says of a class of this file."""
    module = cls.__module__
    root = Path(__file__).parents[module.count(".")]
    return check_scheduler(Sources(root), module, cls.__name__)


@pytest.mark.parametrize("cls", KNOWN)
def test_known_shapes(cls: type[Any]) -> None:
    check_scheduler_shape(cls)
    assert problem_in_source(cls) is None


@pytest.mark.parametrize("cls", [*UNKNOWN, object])
def test_unknown_shapes_are_named(cls: type[Any]) -> None:
    with pytest.raises(UnknownSchedulerError, match=cls.__name__):
        check_scheduler_shape(cls)


@pytest.mark.parametrize("cls", UNKNOWN)
def test_sources_are_judged_as_live_classes_are(cls: type[Any]) -> None:
    with pytest.raises(UnknownSchedulerError) as error:
        check_scheduler_shape(cls)
    assert problem_in_source(cls) == str(error.value)


@pytest.mark.parametrize(("cls", "minds"), [(Known, [False, False]), (MindsLoads, [False, True])])
def test_what_stands_around_a_call_is_seen(cls: type[Any], minds: list[bool]) -> None:
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls.schedule)))
    calls = hook_calls(tree)
    assert [call.num_arguments for call in calls] == [2, 4]
    assert [call.minds_loads for call in calls] == minds


def test_the_installed_vllm() -> None:
    async_scheduler = pytest.importorskip("vllm.v1.core.sched.async_scheduler")
    check_scheduler_shape(async_scheduler.AsyncScheduler)
    check_scheduler_shape(async_scheduler.Scheduler)
