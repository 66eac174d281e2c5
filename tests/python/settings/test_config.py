"""The sentence that each wrong setting gets, and where settings are found."""

from __future__ import annotations

import logging
import math
from types import SimpleNamespace
from typing import Any

import pytest
from cpp_chunk.assembly.context import attach, attached
from cpp_chunk.settings.against_vllm import config_of
from cpp_chunk.settings.config import (
    ConfigError,
    ProfilingChunkConfig,
    parse_config,
    read_config,
    warn_of_misspelt_key,
)


def test_defaults_are_the_documented_ones() -> None:
    config = parse_config({})
    assert config == ProfilingChunkConfig(
        enabled=False, smooth_factor=1.0, min_chunk=4096, need_timing=True, target="auto"
    )
    assert not config.min_chunk_is_set
    assert parse_config({"min_chunk": 4096}).min_chunk_is_set


@pytest.mark.parametrize("target", ["auto", "base", 12, 12.5])
def test_targets(target: object) -> None:
    assert parse_config({"target": target}).target == target


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"smoth_factor": 1.0}, ("smoth_factor", "1.0", "'smooth_factor'")),
        ({"minchunk": 7}, ("minchunk", "7", "'min_chunk'")),
        ({"enabled": "yes"}, ("enabled", "'yes'", "true or false")),
        ({"enabled": 1}, ("enabled", "1", "true or false")),
        ({"smooth_factor": 1.5}, ("smooth_factor", "1.5", "from 0")),
        ({"smooth_factor": -0.1}, ("smooth_factor", "-0.1", "from 0")),
        ({"smooth_factor": math.nan}, ("smooth_factor", "nan", "from 0")),
        ({"smooth_factor": True}, ("smooth_factor", "True", "from 0")),
        ({"max_step_ms": 0}, ("max_step_ms", "0", "milliseconds above 0")),
        ({"max_step_ms": math.inf}, ("max_step_ms", "inf", "milliseconds above 0")),
        ({"min_chunk": 0}, ("min_chunk", "0", "above 0")),
        ({"min_chunk": -4096}, ("min_chunk", "-4096", "above 0")),
        ({"min_chunk": 4096.5}, ("min_chunk", "4096.5", "above 0")),
        ({"min_chunk": "4096"}, ("min_chunk", "'4096'", "above 0")),
        ({"implementation": "theirs"}, ("implementation", "'theirs'", '"in-tree"')),
        ({"allow_untested": 1}, ("allow_untested", "1", "true or false")),
        ({"need_timing": None}, ("need_timing", "None", "true or false")),
        ({"target": "best"}, ("target", "'best'", '"auto"')),
        ({"target": 0}, ("target", "0", "above 0")),
        ({"target": math.inf}, ("target", "inf", "above 0")),
    ],
)
def test_a_wrong_setting_gets_one_sentence(
    settings: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config({"profiling_chunk_config": settings})
    sentence = str(caught.value)
    assert "\n" not in sentence
    for word in ("profiling_chunk_config", *words):
        assert word in sentence


def test_both_places() -> None:
    settings = {"enabled": True, "min_chunk": 512}
    assert read_config({"profiling_chunk_config": settings}).min_chunk == 512
    assert read_config({"scheduler_config": {"profiling_chunk_config": settings}}).enabled
    alike = {
        "profiling_chunk_config": settings,
        "scheduler_config": {"profiling_chunk_config": dict(settings)},
    }
    assert read_config(alike).min_chunk == 512
    different = alike | {"profiling_chunk_config": {"enabled": True}}
    with pytest.raises(ConfigError, match=r"scheduler_config\.profiling_chunk_config"):
        read_config(different)


@pytest.mark.parametrize("additional", [None, {}, {"scheduler_config": 3}, object()])
def test_no_settings_means_off(additional: object) -> None:
    assert not read_config(additional).enabled


def test_settings_that_are_no_object() -> None:
    with pytest.raises(ConfigError, match="profiling_chunk_config is True"):
        read_config({"profiling_chunk_config": True})


def vllm_config(
    additional: dict[str, Any] | None = None,
    *,
    stages: int = 2,
    chunked: bool = True,
    backend: object = "mp",
) -> Any:
    return SimpleNamespace(
        additional_config={"profiling_chunk_config": {"enabled": True}} | (additional or {}),
        parallel_config=SimpleNamespace(
            pipeline_parallel_size=stages, distributed_executor_backend=backend
        ),
        scheduler_config=SimpleNamespace(enable_chunked_prefill=chunked),
    )


def test_one_stage_is_refused() -> None:
    with pytest.raises(ConfigError, match="pipeline_parallel_size is 1: allowed is 2 or more"):
        config_of(vllm_config(stages=1))


def test_no_chunked_prefill_is_refused() -> None:
    with pytest.raises(ConfigError, match="enable_chunked_prefill is False: allowed is true"):
        config_of(vllm_config(chunked=False))


class TestExecutors:
    """vLLM's own classes: what an engine core says whose settings no front end has seen."""

    @pytest.fixture(autouse=True)
    def _vllm(self) -> None:
        pytest.importorskip("vllm.v1.executor.abstract")

    @pytest.mark.parametrize("backend", ["external_launcher", "uni"])
    def test_one_that_reaches_one_stage_is_refused(self, backend: str) -> None:
        config = vllm_config(backend=backend)
        words = f"distributed_executor_backend is {backend}: allowed is one that reaches all stages"
        with pytest.raises(ConfigError, match=words):
            attach(config, executor=None)
        assert attached(config.scheduler_config) is None

    def test_a_class_of_that_kind_is_refused_by_its_name(self) -> None:
        from vllm.v1.executor.uniproc_executor import ExecutorWithExternalLauncher

        mine = type("Mine", (ExecutorWithExternalLauncher,), {"supports_pp": True})
        with pytest.raises(ConfigError, match=r"backend is <class '\S+Mine'>: allowed is"):
            config_of(vllm_config(backend=mine))

    def test_others_are_accepted(self) -> None:
        from vllm.v1.executor.multiproc_executor import MultiprocExecutor

        for backend in ("mp", MultiprocExecutor, type("Mine", (MultiprocExecutor,), {})):
            assert config_of(vllm_config(backend=backend)).enabled

    def test_switched_off_or_with_one_stage_nothing_is_asked(self) -> None:
        off = {"profiling_chunk_config": {"enabled": False}}
        assert not config_of(vllm_config(off, backend="external_launcher")).enabled


def test_a_bound_on_steps_needs_dynamic_chunks() -> None:
    settings = {"enabled": True, "max_step_ms": 50.0, "smooth_factor": 0.0}
    with pytest.raises(ConfigError, match="max_step_ms is 50 but smooth_factor is 0: allowed is"):
        config_of(vllm_config({"profiling_chunk_config": settings}))
    assert config_of(
        vllm_config({"profiling_chunk_config": settings | {"smooth_factor": 0.5}})
    ).enabled


def test_switched_off_nothing_is_refused() -> None:
    off = vllm_config({"profiling_chunk_config": {"enabled": False}}, stages=1, chunked=False)
    assert not config_of(off).enabled


def test_a_misspelt_name_of_the_whole_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("vllm").propagate = True
    with caplog.at_level(logging.WARNING, logger="vllm"):
        warn_of_misspelt_key({"profiling_chunks_config": {"enabled": True}})
    assert "did you mean 'profiling_chunk_config'?" in caplog.text
