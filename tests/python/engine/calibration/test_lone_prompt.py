"""Prompts that had the pipeline to themselves, against fixed chunks by the model."""

from __future__ import annotations

import cpp_chunk
import pytest
from cpp_chunk.engine.calibration.lone_prompt import LonePrompts
from cpp_chunk.engine.calibration.noted_step import NotedStep

MODEL = cpp_chunk.LatencyModel(quadratic=1e-4, cross=1e-4, linear=0.05, context=0.0, constant=5.0)
FIXED_TOKENS = 4096
GAP_MS = 1.0


def step(
    request_id: str,
    num_tokens: int,
    history: int,
    remaining: int,
    *others: tuple[str, int, int],
    target_ms: float | None = 100.0,
) -> NotedStep:
    ids = [request_id, *(other for other, _, _ in others)]
    chunks = [(num_tokens, history), *((n, h) for _, n, h in others)]
    left = [remaining, *(0 for _ in others)]
    has_prefill = any(n > 1 for n, _ in chunks)
    return NotedStep(ids, chunks, left, has_prefill, target_ms, [MODEL, MODEL])


def stages(start_s: float, first_ms: float, second_ms: float) -> dict[int, tuple[float, float]]:
    # The second stage's clock is another host's.
    return {0: (start_s, first_ms), 1: (start_s + 1e6, second_ms)}


def test_a_prompt_is_measured_from_its_first_step_to_its_last() -> None:
    prompts = LonePrompts(FIXED_TOKENS)
    assert prompts.add(step("a", 4096, 0, 4096), stages(10.0, 300, 310), GAP_MS) is None
    result = prompts.add(step("a", 4096, 4096, 0), stages(10.4, 500, 510), GAP_MS)
    assert result is not None
    measured_ms, fixed_ms = result
    assert measured_ms == pytest.approx(400 + 500 + 510)
    fixed = cpp_chunk.plan_fixed_chunks([MODEL.with_overhead(GAP_MS)] * 2, 8192, FIXED_TOKENS)
    assert fixed_ms == pytest.approx(fixed.makespan_ms)


def test_a_prefix_hit_is_no_work_of_fixed_chunks_either() -> None:
    prompts = LonePrompts(FIXED_TOKENS)
    prompts.add(step("a", 1024, 4096, 1024), stages(0.0, 1, 1), GAP_MS)
    result = prompts.add(step("a", 1024, 5120, 0), stages(1.0, 1, 1), GAP_MS)
    assert result is not None
    fixed = cpp_chunk.plan_fixed_chunks(
        [MODEL.with_overhead(GAP_MS)] * 2, 6144, FIXED_TOKENS, num_computed_tokens=4096
    )
    assert result[1] == pytest.approx(fixed.makespan_ms)


def test_others_make_it_no_lone_prompt() -> None:
    prompts = LonePrompts(FIXED_TOKENS)
    prompts.add(step("a", 1024, 0, 2048), stages(0, 1, 1), GAP_MS)
    prompts.add(step("a", 1024, 1024, 1024, ("b", 1, 50)), stages(1, 1, 1), GAP_MS)
    # Its last step alone again: from there it is one chunk.
    assert prompts.add(step("a", 1024, 2048, 0), stages(2, 1, 1), GAP_MS) is None


def test_one_chunk_and_fixed_chunks_tell_nothing() -> None:
    prompts = LonePrompts(FIXED_TOKENS)
    assert prompts.add(step("a", 1024, 0, 0), stages(0, 1, 1), GAP_MS) is None
    for history, remaining in ((0, 1024), (1024, 0)):
        fixed = step("b", 1024, history, remaining, target_ms=None)
        assert prompts.add(fixed, stages(0, 1, 1), GAP_MS) is None
    assert prompts.add(step("c", 1, 4096, 0), stages(0, 1, 1), GAP_MS) is None
