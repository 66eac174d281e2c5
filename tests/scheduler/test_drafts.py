"""Decodes with draft tokens: they are decodes, and a prompt beside them moves on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scheduler.engine import Engine, Shape, assert_as_fresh

if TYPE_CHECKING:
    from pathlib import Path

NUM_DECODES = 200
PROMPT_TOKENS = 8000
MAX_STEPS = 400


def among_decodes(engine: Engine, prompt_tokens: int = PROMPT_TOKENS) -> list[int]:
    """What a prompt gets of each step until it is done, or of MAX_STEPS, beside the decodes."""
    planner = engine.planner
    # They are brought to decode with vLLM's own chunks: it is not what is looked at.
    engine.planner = None
    engine.scheduler.cpp_chunk_use(None)
    for _ in range(NUM_DECODES):
        engine.add(2000, max_tokens=20000)
    while len(engine.first_token_ms) < NUM_DECODES:
        engine.turn()
    engine.planner = planner
    engine.scheduler.cpp_chunk_use(planner)
    for _ in range(8):
        engine.turn()
    num_before = len(engine.steps)
    engine.add(prompt_tokens, "prompt")
    while "prompt" not in engine.first_token_ms and len(engine.steps) < num_before + MAX_STEPS:
        engine.turn()
    return [step.get("prompt", 0) for step in engine.steps[num_before:]]


def shape(num_drafts: int, steps_in_flight: int, **settings: float) -> Shape:
    return Shape(
        # The decodes' histories fill a million tokens.
        num_blocks=40000,
        num_drafts=num_drafts,
        num_accepted=min(1, num_drafts),
        steps_in_flight=steps_in_flight,
        settings=tuple(settings.items()),
    )


@pytest.mark.parametrize("steps_in_flight", [1, 2])
def test_drafts_do_not_keep_a_prompt_from_its_chunks(model: Path, steps_in_flight: int) -> None:
    without = among_decodes(Engine(model, shape(0, steps_in_flight)))
    with_drafts = among_decodes(Engine(model, shape(3, steps_in_flight)))
    assert sum(without) == sum(with_drafts) == PROMPT_TOKENS
    # Rows of drafts cost time as well: steps are longer for them, not many more.
    assert len(with_drafts) <= 1.5 * len(without) + 1


@pytest.mark.parametrize("steps_in_flight", [1, 2])
def test_a_prompt_moves_on_by_a_block_beside_decodes_that_fill_the_step(
    model: Path, steps_in_flight: int
) -> None:
    engine = Engine(model, shape(3, steps_in_flight, max_step_ms=25.0))
    got = among_decodes(engine, prompt_tokens=1600)
    assert sum(got) == 1600
    assert min(got[: len(got) - steps_in_flight]) >= engine.shape.block_tokens


@pytest.mark.parametrize("is_async", [False, True])
def test_drafts_leave_nothing_behind(model: Path, *, is_async: bool) -> None:
    engine = Engine(model, Shape(num_drafts=3, num_accepted=2, is_async=is_async))
    for number in range(20):
        engine.add(200 + 300 * number, max_tokens=50)
        engine.turn()
    engine.run()
    assert engine.book_is_empty
    assert_as_fresh(engine)
