"""A step on vllm-ascend's worker: no synchronisation of the device, a lazy receive, our timer."""

from __future__ import annotations

from typing import Any

from tests.ascend.worker_facts import COMPUTE_MS, STEP_ID

Facts = dict[str, Any]


def test_the_in_tree_version_synchronises_each_step(in_tree_child: Facts) -> None:
    worker = in_tree_child["worker"]
    assert worker["need_timing"]
    assert worker["events"] == ["synchronize", "prepare", "wait", "forward"]


def test_ours_synchronises_none_and_leaves_the_receive_lazy(our_child: Facts) -> None:
    worker = our_child["worker"]
    assert not worker["need_timing"]
    # The wait comes where the runner first uses what it was sent: behind its own preparations.
    assert worker["events"] == ["prepare", "wait", "forward"]
    assert worker["reading"]["synchronisations"] == 0


def test_our_timer_times_the_step_without_the_wait(our_child: Facts) -> None:
    reading = our_child["worker"]["reading"]
    assert reading["pp_rank"] == 1
    # Events are read once the device has come so far, and not before.
    assert reading["at_once"] == []
    assert reading["later"] == [[STEP_ID, COMPUTE_MS]]


def test_the_step_gives_what_was_received(our_child: Facts, in_tree_child: Facts) -> None:
    assert our_child["worker"]["received"] == in_tree_child["worker"]["received"]
    assert all(value == 1.0 for row in our_child["worker"]["received"] for value in row)
