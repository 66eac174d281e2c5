"""What we refuse on vllm-ascend's platform, and what vllm-ascend refuses before we see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.ascend.cases import PLUGIN, WITHOUT

if TYPE_CHECKING:
    from collections.abc import Callable

Facts = dict[str, Any]


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("one_stage", "pipeline_parallel_size is 1"),
        ("balance_variable", "VLLM_ASCEND_BALANCE_SCHEDULING is '1'"),
        ("balance", "enable_balance_scheduling is True"),
        ("balance_nested", "enable_balance_scheduling is True"),
        ("short_request_first", "short_request_first_config.enabled is True"),
        ("batch_jobs", "batch_job_sched_config.enabled is True"),
        ("dynamic_batch", "SLO_limits_for_dynamic_batch is 50"),
        ("recompute_on_decode_node", "recompute_scheduler_enable is True"),
        ("unknown_setting", "min_chunks is not a known key (value 1)"),
        ("unlike_places", "'min_chunk': 512"),
    ],
)
def test_we_refuse_in_one_sentence(ours: Facts, name: str, setting: str) -> None:
    facts = ours[name]
    assert facts.get("error") == "ConfigError", facts
    message = facts["message"]
    assert setting in message
    assert "profiling_chunk_config" in message
    assert "llowed" in message or "give one of them" in message
    assert message.endswith(".") and ". " not in message and "\n" not in message
    assert f"[cpp_chunk] {message}" in facts["log"]


def test_recompute_on_a_mixed_node_is_refused_before_us(front_end: Callable[[str], Facts]) -> None:
    for mode in (PLUGIN, WITHOUT):
        message = front_end(mode)["recompute"]["message"]
        assert "recompute_scheduler_enable can only be enabled on PD-disaggregated D" in message


@pytest.mark.parametrize("name", ["one_stage", "balance", "balance_variable"])
def test_the_in_tree_version_refuses_too(front_end: Callable[[str], Facts], name: str) -> None:
    assert front_end(WITHOUT)[name]["error"] == "ValidationError"
