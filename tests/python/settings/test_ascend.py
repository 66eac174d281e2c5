"""What is taken over from vllm-ascend, handed back to it, and refused beside it."""

from __future__ import annotations

import copy
import logging
import pickle
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from cpp_chunk.settings import ascend
from cpp_chunk.settings.against_vllm import config_of
from cpp_chunk.settings.config import ConfigError, read_config

ON = {"enabled": True, "min_chunk": 512}
IN_TREE = {"enabled": True, "max_fit_chunk": 40, "implementation": "in-tree", "target": "auto"}


class VllmConfig(SimpleNamespace):
    """As much of vLLM's as is read; it travels by pickle, as vLLM's does."""


def vllm_config(additional: Any) -> Any:
    return VllmConfig(
        additional_config=additional,
        parallel_config=SimpleNamespace(
            pipeline_parallel_size=2, distributed_executor_backend="mp"
        ),
        scheduler_config=SimpleNamespace(enable_chunked_prefill=True),
    )


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"profiling_chunk_config": ON}, {}),
        ({"profiling_chunk_config": ON, "refresh": True}, {"refresh": True}),
        ({"scheduler_config": {"profiling_chunk_config": ON}}, {"scheduler_config": {}}),
        (
            {"scheduler_config": {"profiling_chunk_config": ON, "x": 1}},
            {"scheduler_config": {"x": 1}},
        ),
        (
            {"profiling_chunk_config": ON, "scheduler_config": {"profiling_chunk_config": ON}},
            {"scheduler_config": {}},
        ),
        ({"profiling_chunk_config": {"enabled": False, "target": 5}}, {}),
        ({"profiling_chunk_config": "nonsense"}, {}),
    ],
)
def test_the_key_is_taken_out(given: dict[str, Any], left: dict[str, Any]) -> None:
    before = copy.deepcopy(given)
    config = vllm_config(given)
    ascend.take_over(config)
    assert config.additional_config == left
    assert given == before


def test_what_was_taken_is_read_there_and_in_other_processes() -> None:
    config = vllm_config({"profiling_chunk_config": ON, "refresh": True})
    ascend.take_over(config)
    assert config_of(config).min_chunk == 512
    elsewhere = pickle.loads(pickle.dumps(config))
    ascend.take_over(elsewhere)  # vLLM has its platform check the configuration there again
    assert config_of(elsewhere).enabled
    assert elsewhere.additional_config == {"refresh": True}


def test_both_places_are_still_held_against_each_other() -> None:
    config = vllm_config(
        {
            "profiling_chunk_config": ON,
            "scheduler_config": {"profiling_chunk_config": {"enabled": False}},
        }
    )
    ascend.take_over(config)
    with pytest.raises(ConfigError, match="give one of them, or both alike"):
        config_of(config)


@pytest.mark.parametrize("additional", [None, {}, {"refresh": True}, {"scheduler_config": {}}])
def test_where_there_is_no_key_nothing_is_done(additional: Any) -> None:
    config = vllm_config(additional)
    ascend.take_over(config)
    assert config.additional_config is additional
    assert not config_of(config).enabled


@pytest.mark.parametrize("parent", [None, "scheduler_config"])
def test_in_tree_hands_it_back(parent: str | None, caplog: pytest.LogCaptureFixture) -> None:
    given: dict[str, Any] = {"profiling_chunk_config": IN_TREE}
    theirs: dict[str, Any] = {"profiling_chunk_config": {"enabled": True, "max_fit_chunk": 40}}
    if parent is not None:
        given, theirs = {parent: given}, {parent: theirs}
    config = vllm_config(given)
    logging.getLogger("vllm").propagate = True
    with caplog.at_level(logging.INFO, logger="vllm"):
        ascend.take_over(config)
        # vLLM has its platform check a configuration again, and copies of it, in each process.
        again = vllm_config(copy.deepcopy(pickle.loads(pickle.dumps(config)).additional_config))
        ascend.take_over(again)
        ascend.take_over(config)
    for one in (config, again):
        assert one.additional_config == theirs
        assert not config_of(one).enabled
    assert caplog.text.count("left to vllm-ascend") == 1
    assert "taking" not in caplog.text


@pytest.mark.parametrize(("release", "is_warned"), [("older", True), ("newer", False)])
def test_a_release_that_does_not_read_the_inner_place(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, release: str, is_warned: Any
) -> None:
    """As 0.23.0 and 0.24.0rc1 do not."""
    theirs = SimpleNamespace() if release == "older" else SimpleNamespace(SchedulerConfig=object)
    monkeypatch.setitem(sys.modules, "vllm_ascend.ascend_config", theirs)
    logging.getLogger("vllm").propagate = True
    with caplog.at_level(logging.WARNING, logger="vllm"):
        ascend.take_over(vllm_config({"scheduler_config": {"profiling_chunk_config": IN_TREE}}))
    assert ("at the top level of additional_config alone" in caplog.text) is is_warned


def test_taking_over_is_said_once_and_only_where_it_matters(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logging.getLogger("vllm").propagate = True
    with caplog.at_level(logging.INFO, logger="vllm"):
        ascend.take_over(vllm_config({"profiling_chunk_config": {"enabled": False}}))
        assert not caplog.records
        config = vllm_config({"profiling_chunk_config": ON})
        ascend.take_over(config)
        ascend.take_over(config)
    assert len(caplog.records) == 1
    assert "taking profiling_chunk_config over from vllm-ascend" in caplog.text


def test_a_key_of_theirs_alone_is_explained() -> None:
    with pytest.raises(ConfigError, match=r"max_fit_chunk is 40: .*leave it out, .*in-tree"):
        read_config({"profiling_chunk_config": {"enabled": True, "max_fit_chunk": 40}})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"enable_balance_scheduling": True}, "enable_balance_scheduling is True"),
        ({"recompute_scheduler_enable": True}, "recompute_scheduler_enable is True"),
        ({"SLO_limits_for_dynamic_batch": 50}, "SLO_limits_for_dynamic_batch is 50"),
        ({"batch_job_sched_config": {"enabled": True}}, "batch_job_sched_config.enabled is True"),
        (
            {"short_request_first_config": {"enabled": True}},
            "short_request_first_config.enabled is True",
        ),
        ({"dyntra_lb_config": {"enabled": True}}, "dyntra_lb_config.enabled is True"),
    ],
)
@pytest.mark.parametrize("parent", [None, "scheduler_config"])
def test_other_schedulers_are_refused(
    settings: dict[str, Any], words: str, parent: str | None
) -> None:
    placed = settings if parent is None else {parent: settings}
    config = vllm_config({"profiling_chunk_config": ON} | placed)
    with pytest.raises(ConfigError, match=f"{words}: allowed is off"):
        config_of(config)


def test_the_inner_place_goes_before_the_outer() -> None:
    """On a prefill node vllm-ascend itself switches it off there."""
    off = {"scheduler_config": {"recompute_scheduler_enable": False}}
    config = vllm_config({"profiling_chunk_config": ON, "recompute_scheduler_enable": True} | off)
    assert config_of(config).enabled


def test_balance_scheduling_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_ASCEND_BALANCE_SCHEDULING", "1")
    config = vllm_config({"profiling_chunk_config": ON})
    with pytest.raises(ConfigError, match="VLLM_ASCEND_BALANCE_SCHEDULING is '1': allowed is off"):
        config_of(config)
    # The setting goes before the variable.
    config.additional_config["enable_balance_scheduling"] = False
    assert config_of(config).enabled
    monkeypatch.setenv("VLLM_ASCEND_BALANCE_SCHEDULING", "0")
    assert config_of(vllm_config({"profiling_chunk_config": ON})).enabled


@pytest.mark.parametrize(
    ("additional", "variable", "expected"),
    [
        ({}, "", "off"),
        ({}, "1", "on"),
        ({"enable_flashcomm1": True}, "", "on"),
        ({"enable_flashcomm1": False}, "1", "off"),
        ({"enable_shared_expert_dp": True}, "", "on"),
        (None, "0", "off"),
    ],
)
def test_flashcomm(
    monkeypatch: pytest.MonkeyPatch, additional: Any, variable: str, expected: str
) -> None:
    monkeypatch.setenv("VLLM_ASCEND_ENABLE_FLASHCOMM1", variable)
    assert ascend.uses_flashcomm(vllm_config(additional)) is (expected == "on")


@pytest.mark.parametrize(
    ("active", "asynchronous", "v2", "expected"),
    [(1, 1, 0, True), (0, 1, 0, False), (1, 0, 0, False), (1, 1, 1, False)],
)
def test_asynchronous_scheduling_on_v1(
    monkeypatch: pytest.MonkeyPatch, active: Any, asynchronous: Any, v2: Any, expected: Any
) -> None:
    monkeypatch.setattr(ascend, "is_active", lambda: bool(active))
    config = vllm_config({})
    config.scheduler_config.async_scheduling = bool(asynchronous)
    config.use_v2_model_runner = bool(v2)
    assert ascend.is_asynchronous_on_v1(config) is expected


def test_their_scheduler_is_recognised() -> None:
    theirs = type(
        "ProfilingChunkScheduler",
        (),
        {"__module__": "vllm_ascend.core.scheduler_profiling_chunk"},
    )
    assert ascend.has_in_tree_scheduler(type("Derived", (theirs,), {}))
    assert not ascend.has_in_tree_scheduler(type("ProfilingChunkScheduler", (), {}))
