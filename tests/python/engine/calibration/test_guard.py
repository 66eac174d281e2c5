"""The guard: when trust is lost, and what it takes to win it back."""

from __future__ import annotations

from cpp_chunk.engine.calibration.guard import (
    SILENT_STEPS,
    WINDOW_PROMPTS,
    WINDOW_STEPS,
    Guard,
)
from cpp_chunk.engine.calibration.noted_step import NotedStep

# Nothing in it is predicted: its times are there, and that is all.
DECODES = NotedStep(["a"], [(1, 500)], [0], has_prefill=False, target_ms=None, models=())


def feed(guard: Guard, num_steps: int, error: float) -> None:
    for number in range(num_steps):
        guard.add_step(1 + (error if number % 2 else -error), 1.0)


def test_it_trusts_to_begin_with_and_while_predictions_hold() -> None:
    guard = Guard()
    assert guard.median_error is None
    assert not guard.weigh()
    feed(guard, 3 * WINDOW_STEPS, 0.24)
    assert not guard.weigh()
    assert guard.distrust is None


def test_half_of_the_steps_must_be_off() -> None:
    guard = Guard()
    feed(guard, WINDOW_STEPS // 2 + 2, 0.02)
    feed(guard, WINDOW_STEPS // 2 - 2, 5.0)
    assert not guard.weigh()
    feed(guard, 4, 5.0)
    assert guard.weigh()
    assert guard.distrust is not None
    assert "64 steps" in guard.distrust
    assert not guard.weigh()


def test_a_few_steps_are_no_reason() -> None:
    guard = Guard()
    feed(guard, WINDOW_STEPS - 1, 5.0)
    assert not guard.weigh()
    feed(guard, 1, 5.0)
    assert guard.weigh()


def test_it_comes_back_after_a_window_of_good_steps() -> None:
    guard = Guard()
    feed(guard, WINDOW_STEPS, 0.5)
    assert guard.weigh()
    # Better than what took trust away, not good enough to give it back.
    feed(guard, 2 * WINDOW_STEPS, 0.2)
    assert not guard.weigh()
    feed(guard, WINDOW_STEPS, 0.05)
    assert guard.weigh()
    assert guard.distrust is None
    assert guard.median_error is None


def test_prompts_slower_than_fixed_chunks_would_be() -> None:
    guard = Guard()
    feed(guard, WINDOW_STEPS, 0.05)
    for _ in range(WINDOW_PROMPTS - 1):
        guard.add_prompt(130.0, 100.0)
        assert not guard.weigh()
    guard.add_prompt(130.0, 100.0)
    assert guard.weigh()
    assert guard.distrust is not None
    assert "1.30 of the time" in guard.distrust
    # A good model is no news here: it is only tried again after a while, later each time.
    for patience in (1, 2, 4):
        feed(guard, patience * WINDOW_STEPS - 1, 0.05)
        assert not guard.weigh()
        feed(guard, 1, 0.05)
        assert guard.weigh()
        assert guard.distrust is None
        feed(guard, 1, 0.05)
        for _ in range(WINDOW_PROMPTS):
            guard.add_prompt(130.0, 100.0)
        assert guard.weigh()


def test_prompts_about_as_fast_as_fixed_chunks_are_no_reason() -> None:
    guard = Guard()
    feed(guard, WINDOW_STEPS, 0.05)
    for share in (1.5, 0.9, 1.05, 1.0, 1.5, 0.8, 1.09):
        guard.add_prompt(share, 1.0)
        assert not guard.weigh()


def test_no_times_at_all_are_a_reason() -> None:
    guard = Guard()
    for _ in range(SILENT_STEPS - 1):
        guard.note_step()
        assert not guard.weigh()
    guard.note_step()
    assert guard.weigh()
    assert guard.distrust is not None
    assert f"have come in for {SILENT_STEPS} steps" in guard.distrust
    # Said once, however long it lasts.
    guard.note_step()
    assert not guard.weigh()


def test_each_step_with_its_times_begins_the_count_anew() -> None:
    guard = Guard()
    for _ in range(3):
        for _ in range(SILENT_STEPS - 1):
            guard.note_step()
        assert not guard.weigh()
        guard.take_step(DECODES, {0: (0.0, 9.0)}, 0.0)


def test_times_that_come_again_do_not_suffice_to_come_back() -> None:
    guard = Guard()
    for _ in range(SILENT_STEPS):
        guard.note_step()
    assert guard.weigh()
    for _ in range(WINDOW_STEPS):
        guard.note_step()
        guard.take_step(DECODES, {0: (0.0, 9.0)}, 0.0)
    feed(guard, WINDOW_STEPS, 0.2)
    assert not guard.weigh()
    feed(guard, WINDOW_STEPS, 0.05)
    assert guard.weigh()
    assert guard.distrust is None
