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
# Beside the turns that the encoder cache costs vLLM alone: a step that holds only what was refused,
# and one more for each of its stages.
SPARE_TURNS = 3


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
        # Chunks of equal time are more than fixed ones, whatever the cache, up to 14 times as many
        # turns here: so it is held against the turns of either with a cache for all.
        ours_ample = served(model, AMPLE_CACHE_TOKENS, prompts, has_plugin=True)
        alone_ample = served(model, AMPLE_CACHE_TOKENS, prompts, has_plugin=False)
        of_cache = ours.num_scheduled - ours_ample.num_scheduled
        of_cache_alone = alone.num_scheduled - alone_ample.num_scheduled
        case = (number, cache_tokens, prompts)
        assert of_cache <= of_cache_alone + SPARE_TURNS, case
        assert ours.num_empty <= alone.num_empty, case
        assert ours.now_ms <= alone.now_ms, case


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
