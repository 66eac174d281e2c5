"""Everything at once, in model time: no prompt is served later than with vLLM alone."""

from __future__ import annotations

import random
import statistics
from typing import TYPE_CHECKING, Any

import pytest

from tests.scheduler.engine import TRUTH, Engine, Shape, assert_as_fresh

if TYPE_CHECKING:
    from pathlib import Path

SHAPES = {
    "plain": Shape(),
    "four stages": Shape(stages=(TRUTH,) * 4),
    "KV pressure": Shape(num_blocks=1024),
    "images": Shape(encoder_cache_tokens=2048),
    "drafts": Shape(num_drafts=3, num_accepted=2),
    "priorities": Shape(num_blocks=1024, policy="priority"),
    "asynchronous": Shape(num_blocks=1024, is_async=True, num_drafts=3, num_accepted=1),
    "threshold": Shape(long_prefill_token_threshold=1024),
}


def arrivals(shape: Shape) -> list[tuple[float, dict[str, Any]]]:
    """Prompts of 50 to 12000 tokens that together keep the pipeline busy most of the time."""
    rng = random.Random(1)
    now_ms = 0.0
    requests = []
    for number in range(80):
        now_ms += rng.expovariate(1 / 1000.0)
        num_tokens = int(50 * 240 ** rng.random())
        image = rng.randint(1, 2048)
        has_image = shape.encoder_cache_tokens and rng.random() < 0.4
        text = rng.randint(0, num_tokens)
        requests.append(
            (
                now_ms,
                {
                    "num_tokens": num_tokens + (image if has_image else 0),
                    "name": f"r{number}",
                    "max_tokens": rng.randint(1, 60),
                    "priority": rng.randint(0, 2),
                    "prefix": (rng.randint(1, 3), rng.choice([0, 0, num_tokens // 2])),
                    "images": [(text, image)] if has_image else [],
                },
            )
        )
    return requests


@pytest.mark.parametrize("name", SHAPES)
def test_prompts_are_not_later_than_with_vllm_alone(model: Path, name: str) -> None:
    shape = SHAPES[name]
    ttfts_ms = {}
    for has_plugin in (True, False):
        engine = Engine(model, shape, has_plugin)
        requests = arrivals(shape)
        engine.serve(requests)
        ttfts_ms[has_plugin] = [engine.ttft_ms(request["name"]) for _, request in requests]
        if has_plugin:
            assert engine.book_is_empty
            assert_as_fresh(engine)
    assert statistics.mean(ttfts_ms[True]) <= 1.05 * statistics.mean(ttfts_ms[False])
    assert max(ttfts_ms[True]) <= 1.1 * max(ttfts_ms[False])
