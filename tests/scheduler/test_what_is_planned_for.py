"""The target is that for the work which is there: nothing stays in it that went another way."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING

import cpp_chunk
import pytest

from tests.scheduler.engine import TRUTH, Engine, Shape, assert_as_fresh
from tests.scheduler.kv_connector import LOADED

if TYPE_CHECKING:
    from pathlib import Path

# KV blocks for one prompt of 3000 tokens, not for two.
KV_FOR_ONE = Shape(num_blocks=256)


@pytest.mark.parametrize("num_prompts", [3, 6, 40])
def test_prompts_that_waited_for_kv_blocks_are_forgotten_with_the_last_of_them(
    model: Path, num_prompts: int
) -> None:
    engine = Engine(model, KV_FOR_ONE)
    for _ in range(num_prompts):
        engine.add(3000)
    engine.run()
    assert engine.num_empty, "no step was left empty: nothing is tested"
    assert engine.book_is_empty
    for _ in range(3):
        assert_as_fresh(engine)


def test_a_step_that_vllm_leaves_empty_is_not_in_the_book(model: Path) -> None:
    engine = Engine(model)
    name = engine.add(3000, waits_for_grammar=True).request_id
    assert engine.schedule() == {}
    engine.abort([name])
    # Now nothing but the empty step is in flight.
    assert engine.in_flight
    assert engine.book_is_empty
    engine.process()
    assert_as_fresh(engine)


def targets_of_a_busy_pipeline(engine: Engine, num_prompts: int) -> list[float]:
    """With prompts of 2000 that follow each other, so that it is never idle: as each joins."""
    targets_ms = []
    for _ in range(num_prompts):
        engine.add(2000)
        while len(engine.scheduler.requests) > 2:
            engine.turn()
        targets_ms.append(engine.target_ms)
    return targets_ms


@pytest.mark.parametrize("num_stages", [2, 4])
def test_prompts_that_are_aborted_are_planned_for_no_longer(model: Path, num_stages: int) -> None:
    shape = Shape(num_blocks=20000, stages=(TRUTH,) * num_stages)

    def busy(*, is_joined: bool) -> list[float]:
        engine = Engine(model, shape)
        engine.add(30000)
        engine.schedule()
        names = [engine.add(60000).request_id for _ in range(40)] if is_joined else []
        engine.schedule()
        if is_joined:
            raised_ms = engine.target_ms
            engine.abort(names)
            # What the stages hold was cut for them; it leaves within S steps.
            for _ in range(num_stages):
                engine.turn()
            engine.add(2000)
            engine.schedule()
            engine.process()
            assert engine.target_ms < 0.5 * raised_ms
        return targets_of_a_busy_pipeline(engine, 40)

    aborted, never_there = busy(is_joined=True), busy(is_joined=False)
    # One long step was cut for them, so that the first prompt is done a little sooner.
    assert max(aborted) <= 1.25 * max(never_there)
    assert aborted[-10:] == pytest.approx(never_there[-10:], rel=0.15)


CACHED_TOKENS = 57600
# With a history of `CACHED_TOKENS` before every token, as a price of the token.
AFTER_HISTORY = cpp_chunk.LatencyModel(
    quadratic=TRUTH.quadratic,
    cross=TRUTH.cross,
    linear=TRUTH.linear + TRUTH.cross * CACHED_TOKENS,
    context=0.0,
    constant=TRUTH.constant,
)


def median_target_ms(engine: Engine, num_at_a_time: int, **prompt: object) -> float:
    targets_ms = []
    for _ in range(60):
        while len(engine.scheduler.requests) < num_at_a_time:
            engine.add(**prompt)  # type: ignore[arg-type]
        while len(engine.scheduler.requests) == num_at_a_time:
            engine.turn()
            targets_ms.append(engine.target_ms)
    return statistics.median(targets_ms[len(targets_ms) // 4 :])


@pytest.mark.parametrize("num_at_a_time", [2, 8])
def test_prompts_wait_with_the_prefixes_that_are_cached(model: Path, num_at_a_time: int) -> None:
    shape = Shape(block_tokens=128, num_blocks=8192)
    engine = Engine(model, shape)
    prefix = (1, CACHED_TOKENS)
    engine.add(CACHED_TOKENS, prefix=prefix)
    engine.run()
    target_ms = median_target_ms(
        engine, num_at_a_time, num_tokens=CACHED_TOKENS + 2000, prefix=prefix
    )
    # The same work where there is no cache to know of.
    known = Engine(model, replace(shape, stages=(AFTER_HISTORY,) * 2))
    known_ms = median_target_ms(known, num_at_a_time, num_tokens=2000)
    assert target_ms == pytest.approx(known_ms, rel=0.1)
    engine.run()
    assert engine.book_is_empty


def test_whether_a_target_may_fall_does_not_hang_on_rounding(model: Path) -> None:
    targets_ms = []
    kept_ms = []
    engine = Engine(model, Shape(num_blocks=1024))
    for num_tokens in range(2001, 2401):
        long = engine.add(num_tokens)
        while long.num_computed_tokens < num_tokens:
            engine.turn()
        kept_ms.append(engine.target_ms)
        # All of its work is scheduled, its last step is in flight.
        engine.add(300)
        engine.schedule()
        targets_ms.append(engine.target_ms)
        assert_as_fresh(engine)
    # It is set anew for each, none is kept.
    assert all(now != before for now, before in zip(targets_ms, kept_ms, strict=True))


def test_prompts_that_wait_for_a_grammar_count_as_waiting(model: Path) -> None:
    def target_ms(num_waiting: int, *, waits_for_grammar: bool) -> float:
        engine = Engine(model)
        engine.add(3000)
        for _ in range(num_waiting):
            engine.add(6000, waits_for_grammar=waits_for_grammar)
        engine.schedule()
        return engine.target_ms

    with_all = target_ms(6, waits_for_grammar=True)
    assert with_all == target_ms(6, waits_for_grammar=False)
    assert with_all > target_ms(0, waits_for_grammar=False)


def test_prompts_whose_kv_is_being_loaded_count_with_what_is_left_of_them(model: Path) -> None:
    shape = Shape(connector="tests.scheduler.kv_connector.HalfOfThePrompt")

    def target_ms(num_tokens: int, *, is_loaded: bool) -> float:
        engine = Engine(model, shape)
        names = [f"{LOADED if is_loaded else 'plain'}{number}" for number in range(6)]
        for name in names:
            engine.add(num_tokens, name)
        if is_loaded:
            assert engine.schedule() == {}
            engine.process()
        engine.add(3000)
        engine.schedule()
        reached_ms = engine.target_ms
        if is_loaded:
            engine.process(loaded=names)
            engine.run()
            assert engine.book_is_empty
        return reached_ms

    # Half of 12000 is left, after a history that makes it dearer.
    known = cpp_chunk.ChunkPlanner([TRUTH] * 2, max_chunk_tokens=8192, alignment=16)
    known.set_backlog([*[(6000, 6000)] * 6, (3000, 0)], 0)
    assert target_ms(12000, is_loaded=True) == known.target_ms
    assert target_ms(12000, is_loaded=False) != known.target_ms


@pytest.mark.parametrize("num_waiting", [0, 1, 5])
def test_what_turns_out_to_be_computed_at_admission_is_planned_for_in_that_step(
    model: Path, num_waiting: int
) -> None:
    """Half of the prompt comes from elsewhere in its step: before it, nobody could know."""
    engine = Engine(model, Shape(connector="tests.scheduler.kv_connector.HalfInTheStep"))
    engine.add(12000, LOADED)
    for _ in range(num_waiting):
        engine.add(3000)
    served = engine.schedule()
    known = cpp_chunk.ChunkPlanner([TRUTH] * 2, max_chunk_tokens=8192, alignment=16)
    known.set_backlog([(6000, 6000), *[(3000, 0)] * num_waiting], 0)
    assert engine.target_ms == known.target_ms
    known.begin_step()
    assert served[LOADED] == known.chunk_tokens(6000, 6000, 8192)
    engine.run()
    assert engine.book_is_empty
    assert_as_fresh(engine)
