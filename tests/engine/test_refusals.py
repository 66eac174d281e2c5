"""Real vLLM's front end refuses wrong settings in one sentence, before a model loads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable


@pytest.fixture(scope="module")
def answers(run_script: Callable[..., subprocess.CompletedProcess[str]]) -> dict[str, str | None]:
    answers: dict[str, str | None] = json.loads(
        run_script("refusals_script.py").stdout.splitlines()[-1]
    )
    return answers


@pytest.mark.parametrize(
    "case", ["accepted", "off", "unknown_shape_allowed", "untested_release_allowed"]
)
def test_accepted(answers: dict[str, str | None], case: str) -> None:
    assert answers[case] is None


def test_switched_off_the_scheduler_is_vllms_own(answers: dict[str, str | None]) -> None:
    assert answers["off_scheduler"] in {
        "vllm.v1.core.sched.scheduler.Scheduler",
        "vllm.v1.core.sched.async_scheduler.AsyncScheduler",
    }


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (
            "one_stage",
            (
                "ConfigError: profiling_chunk_config.enabled is true but "
                "pipeline_parallel_size is 1: allowed is 2 or more"
            ),
        ),
        ("no_chunked_prefill", "enable_chunked_prefill is False: allowed is true"),
        (
            "executor_of_one_stage",
            "distributed_executor_backend is external_launcher: allowed is one that reaches all",
        ),
        (
            "unknown_key",
            "min_chnk is not a known key (value 5); the nearest is 'min_chunk', allowed",
        ),
        ("wrong_type", "min_chunk is '5': allowed is a whole number of tokens above 0."),
        ("both_places", "give one of them, or both alike."),
        ("unknown_shape", "StrangeScheduler"),
        ("untested_release", "is not a release that cpp_chunk is tested with: allowed is >=99"),
        ("in_tree_elsewhere", 'implementation is "in-tree" but vLLM does not run on vllm-ascend'),
    ],
)
def test_refused(answers: dict[str, str | None], case: str, words: str) -> None:
    sentence = answers[case]
    assert sentence is not None
    assert words in sentence
    assert "\n" not in sentence
