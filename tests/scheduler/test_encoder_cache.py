"""Prompts with images: what vLLM cannot schedule takes nothing from who it can."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.scheduler.engine import Engine, Shape, assert_as_fresh

if TYPE_CHECKING:
    from pathlib import Path

NUM_SHAPES = 200
# No prompt waits for another one's image in it.
AMPLE_CACHE_TOKENS = 65536
# Beside the turns that the encoder cache costs vLLM alone.
MORE_TURNS = 1.2
# For pairs of few steps, where one more is much: a step that held only what was refused, a stage.
SPARE_TURNS = 2


def random_pair(number: int) -> tuple[int, list[tuple[int, int, int]]]:
    """A cache's size, and two prompts of text, image and text whose images do not fit in it."""
    rng = random.Random(number)
    cache_tokens = rng.choice([1024, 2048, 4096, 8192])
    return cache_tokens, [
        (
            rng.choice([0, 16, 100, rng.randint(0, 12000)]),
            rng.randint(cache_tokens // 2 + 1, cache_tokens),
            rng.randint(1, 9000),
        )
        for _ in range(2)
    ]


def served(
    model: Path, cache_tokens: int, prompts: list[tuple[int, int, int]], *, has_plugin: bool
) -> Engine:
    engine = Engine(model, Shape(num_blocks=4096, encoder_cache_tokens=cache_tokens), has_plugin)
    for text, image, rest in prompts:
        engine.add(text + image + rest, images=[(text, image)])
    engine.run()
    return engine


@pytest.mark.parametrize("first", range(0, NUM_SHAPES, 20))
def test_images_that_do_not_fit_at_once_cost_no_more_turns_than_with_vllm_alone(
    model: Path, first: int
) -> None:
    for number in range(first, first + 20):
        cache_tokens, prompts = random_pair(number)
        ours = served(model, cache_tokens, prompts, has_plugin=True)
        alone = served(model, cache_tokens, prompts, has_plugin=False)
        # Chunks of equal time are more than fixed ones, whatever the cache: it is left out so.
        ours_ample = served(model, AMPLE_CACHE_TOKENS, prompts, has_plugin=True)
        alone_ample = served(model, AMPLE_CACHE_TOKENS, prompts, has_plugin=False)
        turns_alone = len(alone.steps) / len(alone_ample.steps)
        assert len(ours.steps) <= MORE_TURNS * turns_alone * len(ours_ample.steps) + SPARE_TURNS, (
            number,
            cache_tokens,
            prompts,
        )
        assert ours.now_ms <= MORE_TURNS * alone.now_ms, (number, cache_tokens, prompts)


def test_a_crowd_with_images_leaves_nothing_behind(model: Path) -> None:
    rng = random.Random(0)
    engine = Engine(model, Shape(encoder_cache_tokens=2048))
    for _ in range(30):
        text, image = rng.randint(0, 4000), rng.randint(600, 2048)
        engine.add(text + image + rng.randint(1, 4000), images=[(text, image)])
        engine.turn()
    engine.run()
    assert engine.book_is_empty
    assert_as_fresh(engine)
