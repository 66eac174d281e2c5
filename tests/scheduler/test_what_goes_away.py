"""Work that goes another way than it was asked for leaves the book: preempted, reset, aborted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.scheduler.engine import Engine, Shape, assert_as_fresh

if TYPE_CHECKING:
    from pathlib import Path

SMALL_KV = Shape(num_blocks=256)


@pytest.mark.parametrize("is_async", [False, True])
def test_preempted_prompts_are_planned_once_more_and_then_forgotten(
    model: Path, *, is_async: bool
) -> None:
    engine = Engine(model, Shape(num_blocks=256, is_async=is_async))
    for _ in range(8):
        engine.add(400, max_tokens=300)
        engine.turn()
    engine.run()
    assert engine.num_preemptions
    assert engine.book_is_empty
    assert_as_fresh(engine)


def test_a_chunk_that_a_higher_priority_takes_back_is_not_in_the_book(model: Path) -> None:
    engine = Engine(model, Shape(num_blocks=256, policy="priority"))
    for number in range(60):
        engine.add(1000, priority=5)
        engine.add(20, max_tokens=150, priority=0)
        for _ in range(1 + number % 5):
            engine.turn()
    engine.run()
    assert engine.num_taken_back, "no step took back what it had given: nothing is tested"
    assert engine.book_is_empty
    assert_as_fresh(engine)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("num_turns", [1, 2, 5, 9])
def test_a_reset_of_the_prefix_cache_starts_prompts_anew(
    model: Path, num_turns: int, *, is_async: bool
) -> None:
    engine = Engine(model, Shape(is_async=is_async))
    for _ in range(4):
        engine.add(4000, max_tokens=5)
    for _ in range(num_turns):
        engine.turn()
    assert engine.scheduler.reset_prefix_cache(reset_running_requests=True)
    # The same prompts wait again, whole: what was scheduled of them is work that went away.
    engine.schedule()
    again_ms = engine.target_ms
    engine.run()
    assert engine.book_is_empty
    assert_as_fresh(engine)
    for _ in range(4):
        engine.add(4000, max_tokens=5)
    engine.schedule()
    assert again_ms >= 0.9 * engine.target_ms


def test_aborts_at_any_time_leave_nothing_behind(model: Path) -> None:
    for num_turns in range(12):
        engine = Engine(model)
        names = [engine.add(4000, max_tokens=3).request_id for _ in range(3)]
        for _ in range(num_turns):
            engine.turn()
        engine.abort(names)
        engine.run()
        assert engine.book_is_empty, num_turns
        assert_as_fresh(engine)


@pytest.mark.parametrize("num_turns", range(4))
def test_the_book_goes_on_while_the_guard_distrusts(model: Path, num_turns: int) -> None:
    engine = Engine(model)
    assert engine.planner is not None
    engine.add(40000)
    for _ in range(num_turns):
        engine.turn()
    engine.planner.trust(trusted=False)
    engine.add(20000)
    for _ in range(3):
        engine.turn()
    assert not engine.book_is_empty
    engine.planner.trust(trusted=True)
    for _ in range(3):
        engine.turn()
    engine.planner.trust(trusted=False)
    engine.run()
    assert engine.book_is_empty
    engine.planner.trust(trusted=True)
    assert_as_fresh(engine)
    # Prompts that joined while it distrusted are planned for when it trusts again.
    for _ in range(2):
        engine.add(10000)
    engine.planner.trust(trusted=False)
    engine.schedule()
    for _ in range(6):
        engine.add(30000)
    engine.schedule()
    engine.planner.trust(trusted=True)
    engine.process()
    engine.schedule()
    trusted_ms = engine.target_ms
    assert trusted_ms > 2 * Engine(model).lone_target_ms(10000)
    engine.run()
    assert engine.book_is_empty
