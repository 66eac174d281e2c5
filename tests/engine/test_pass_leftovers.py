"""Real workers, asked after the start-up profile: settings that cut passes, and a pooling model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.engine_faults.small_engine import BUDGET_TOKENS

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

CASES: dict[str, dict[str, Any]] = {
    "threshold": {"long_prefill_token_threshold": 256},
    # So few that the share which is kept free holds a pass up beside another one.
    "watermark": {"watermark": 0.2, "num_gpu_blocks_override": 40},
    "pooling": {"runner": "pooling", "convert": "embed"},
}


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
def test_a_profile_comes_out_and_workers_keep_nothing_of_it(
    settings: dict[str, Any],
    model_with_weights: Path,
    run_script: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    limits = pytest.importorskip("vllm.config").SchedulerConfig
    if "watermark" in settings and not hasattr(limits, "watermark"):
        pytest.skip("this release keeps no share of the KV blocks free")
    done = run_script(
        "pass_leftovers_script.py", json.dumps(settings), other_model=model_with_weights
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith('{"held"'))
    facts: dict[str, Any] = json.loads(line)
    assert facts["held"] == [[], []]
    assert facts["profile"]["before"] == facts["profile"]["after"]
    assert max(num_tokens for num_tokens, _ in facts["profile"]["passes"]) == BUDGET_TOKENS
    # No pass was cut, none was left out, and no history halved for want of room.
    assert facts["profile"]["passes"] == facts["profile"]["asked"]
    assert facts["target_ms"] > 0
    assert facts["answer"] > 0
    assert len(facts["chosen"]) > 1
