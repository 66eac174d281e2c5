"""Where the user limits what a long prompt takes of a step, short ones are served beside it."""

from __future__ import annotations

import random
import statistics
from typing import TYPE_CHECKING

from tests.scheduler.engine import Engine, Shape

if TYPE_CHECKING:
    from pathlib import Path


def short_ttfts_ms(model: Path, *, has_plugin: bool) -> list[float]:
    rng = random.Random(1)
    engine = Engine(model, Shape(num_blocks=60000, long_prefill_token_threshold=512), has_plugin)
    long = [(1.0 * number, {"num_tokens": 30000}) for number in range(12)]
    short = [
        (500.0 + 700.0 * number, {"num_tokens": rng.randint(50, 500), "name": f"short{number}"})
        for number in range(100)
    ]
    engine.serve([*long, *short])
    return [engine.ttft_ms(request["name"]) for _, request in short]


def test_short_prompts_are_not_much_later_than_with_vllm_alone(model: Path) -> None:
    ours = short_ttfts_ms(model, has_plugin=True)
    alone = short_ttfts_ms(model, has_plugin=False)
    assert statistics.mean(ours) <= 1.25 * statistics.mean(alone)
    assert max(ours) <= 1.25 * max(alone)
