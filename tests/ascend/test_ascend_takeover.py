"""Whose scheduler, wrappers and step timing result on vllm-ascend's platform, and who says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.ascend.cases import IN_TREE, KEY, PLUGIN, WITHOUT
from tests.ascend.facts import IN_TREE_PATCH

if TYPE_CHECKING:
    from collections.abc import Callable

Facts = dict[str, Any]

PLATFORM = "vllm_ascend.platform.NPUPlatform"
WORKER = "vllm_ascend.worker.worker.NPUWorker"
ENGINE_CORE_INIT = "vllm.v1.engine.core.EngineCore.__init__"
ASYNCHRONOUS = "vllm.v1.core.sched.async_scheduler.AsyncScheduler"
BALANCE = "vllm_ascend.patch.platform.patch_balance_schedule.BalanceScheduler"
IN_TREE_SCHEDULER = "vllm_ascend.core.scheduler_profiling_chunk.ProfilingChunkScheduler"
MIXIN = "cpp_chunk.engine.scheduler.DynamicChunkMixin"
TAKEN_OVER = f"[cpp_chunk] taking {KEY} over from vllm-ascend"
HANDED_BACK = f"[cpp_chunk] {KEY} is left to vllm-ascend"
ASYNCHRONOUS_ON_V1 = "--no-async-scheduling switches it off"
NOT_READ = "at the top level of additional_config alone"
CLAMPED = "Clamping min_chunk"

SWITCHED_ON = (
    "on",
    "nested",
    "both_places",
    "synchronous",
    "large_min_chunk",
    "fixed_chunks",
    "other_key",
)


def tagged(facts: Facts) -> list[str]:
    return [line for line in facts["log"] if "[cpp_chunk]" in line]


def assert_in_tree_is_out(facts: Facts) -> None:
    assert not facts["is_in_tree_patch_loaded"]
    assert facts["engine_core_init"] == ENGINE_CORE_INIT
    assert not facts["run_engine_core"].startswith(IN_TREE_PATCH)


def assert_in_tree_is_in(facts: Facts) -> None:
    assert facts["scheduler_cls"] == facts["chosen"] == IN_TREE_SCHEDULER
    assert facts["in_tree_enabled"] and facts["in_tree_need_timing"]
    assert facts["is_in_tree_patch_loaded"]
    assert facts["engine_core_init"].startswith(IN_TREE_PATCH)
    assert facts["run_engine_core"].startswith(IN_TREE_PATCH)


def assert_ours(facts: Facts) -> None:
    """Nothing of the in-tree version, and our scheduler over what vllm-ascend chose."""
    assert_in_tree_is_out(facts)
    assert (facts["platform"], facts["worker_cls"]) == (PLATFORM, WORKER)
    assert facts["scheduler_cls"] is None
    assert not facts["in_tree_enabled"] and not facts["in_tree_need_timing"]
    assert KEY not in facts["additional_config"] + facts["nested_config"]
    assert facts["is_our_seam_in"]
    derived = facts["derived"]
    assert derived["name"].endswith(f".DynamicChunk{facts['chosen'].rpartition('.')[2]}")
    assert derived["mro"][1:] == [MIXIN, *facts["chosen_mro"]]
    # It stands in for vLLM's own class, whatever is switched on.
    assert BALANCE in derived["mro"]
    assert derived["settings"]["enabled"]


@pytest.mark.parametrize("name", SWITCHED_ON)
def test_ours_runs_with_the_plugin(ours: Facts, name: str) -> None:
    facts = ours[name]
    assert "error" not in facts, facts
    assert_ours(facts)
    assert facts["chosen"] == (BALANCE if name == "synchronous" else ASYNCHRONOUS)
    assert not facts["is_users_changed"]
    first, *others = tagged(facts)
    assert first.startswith(TAKEN_OVER)
    # Both releases schedule asynchronously unless they are told not to.
    assert [ASYNCHRONOUS_ON_V1 in line for line in others] == [True] * (name != "synchronous")


def test_nothing_of_the_in_tree_version_is_left_by_many_configurations(ours: Facts) -> None:
    assert_in_tree_is_out(ours["process"])


def test_other_settings_stay_where_they_are(ours: Facts) -> None:
    assert ours["other_key"]["nested_config"] == ["no_such_key"]


@pytest.mark.parametrize("name", ["on", "both_places"])
def test_the_in_tree_version_runs_without_the_plugin(
    front_end: Callable[[str], Facts], name: str
) -> None:
    facts = front_end(WITHOUT)[name]
    assert_in_tree_is_in(facts)
    assert not facts["is_cpp_chunk_loaded"] and not facts["is_our_seam_in"]


@pytest.mark.parametrize("name", ["on", "nested", "both_places"])
def test_in_tree_is_as_without_the_plugin(front_end: Callable[[str], Facts], name: str) -> None:
    handed_back, without = front_end(IN_TREE)[name], front_end(WITHOUT)[name]
    ours_alone = {"is_cpp_chunk_loaded", "is_our_seam_in", "derived", "log"}
    assert {key: value for key, value in handed_back.items() if key not in ours_alone} == {
        key: value for key, value in without.items() if key not in ours_alone
    }
    # Ours is loaded, and changes nothing.
    derived = handed_back["derived"]
    assert derived["settings"] is None
    assert derived["mro"] == handed_back["chosen_mro"]
    first, *others = tagged(handed_back)
    assert first.startswith(HANDED_BACK)
    # It is said where the release does not look for the key in the place that it has.
    is_read = handed_back["in_tree_enabled"]
    assert [NOT_READ in line for line in others] == ([] if is_read else [True])


def test_in_tree_installs_the_in_tree_version(front_end: Callable[[str], Facts]) -> None:
    assert_in_tree_is_in(front_end(IN_TREE)["on"])


def test_switched_off_nobody_does_anything(front_end: Callable[[str], Facts], mode: str) -> None:
    facts = front_end(mode)["off"]
    assert_in_tree_is_out(facts)
    assert facts["chosen"] == ASYNCHRONOUS
    assert not facts["in_tree_enabled"] and not facts["in_tree_need_timing"]
    assert tagged(facts) == []
    if mode != WITHOUT:
        assert facts["derived"]["mro"] == facts["chosen_mro"]


def test_a_large_min_chunk_is_ours_to_clamp(front_end: Callable[[str], Facts]) -> None:
    def has_clamped(facts: Facts) -> bool:
        return any(CLAMPED in line for line in facts["log"])

    assert has_clamped(front_end(WITHOUT)["large_min_chunk"])
    assert not has_clamped(front_end(PLUGIN)["large_min_chunk"])


def test_fixed_chunks_are_for_us_to_allow(front_end: Callable[[str], Facts]) -> None:
    for refusing in (WITHOUT, IN_TREE):
        message = front_end(refusing)["fixed_chunks"]["message"]
        assert "profiling_chunk_config.smooth_factor must be in (0, 1]" in message
    assert front_end(PLUGIN)["fixed_chunks"]["derived"]["settings"]["smooth_factor"] == 0


def test_the_engine_core_is_sent_what_was_taken_over(our_child: Facts) -> None:
    facts = our_child["engine_core"]
    assert_ours(facts)
    assert facts["chosen"] == ASYNCHRONOUS
    # The front end has said it; the key is not there to be taken again.
    assert tagged(facts) == []


def test_in_tree_goes_on_in_the_engine_core(in_tree_child: Facts) -> None:
    facts = in_tree_child["engine_core"]
    assert_in_tree_is_in(facts)
    assert facts["derived"]["mro"] == facts["chosen_mro"]
