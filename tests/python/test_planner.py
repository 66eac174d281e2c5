"""The planner on the native core: targets, floors, and who fills a step."""

from __future__ import annotations

import logging
from typing import Any

import cpp_chunk
import pytest
from cpp_chunk.config import parse_config
from cpp_chunk.engine.planner import ChunkPlanner

MODEL = cpp_chunk.LatencyModel(quadratic=8e-5, cross=5e-5, linear=0.02, context=0.0, constant=4.0)
GAP_MS = 1.0
CAP = 16384
FLOOR = 256


def planner(max_chunk_tokens: int = CAP, **settings: Any) -> ChunkPlanner:
    made = ChunkPlanner(
        parse_config({"enabled": True} | settings),
        num_stages=2,
        max_chunk_tokens=max_chunk_tokens,
        alignment_tokens=128,
        smallest_profiled_tokens=FLOOR,
    )
    made.set_model(MODEL, GAP_MS)
    return made


def chunks_of(made: ChunkPlanner, prompt_tokens: int, cap: int = CAP) -> list[int]:
    chunks: list[int] = []
    while sum(chunks) < prompt_tokens:
        made.begin_step()
        if not chunks:
            made.admit([(prompt_tokens, 0)], in_progress=False)
        remaining = prompt_tokens - sum(chunks)
        chunk = made.chunk_tokens(remaining, sum(chunks), min(cap, remaining))
        made.add(chunk, sum(chunks))
        chunks.append(chunk)
    return chunks


def test_serving_takes_the_chunks_of_the_plan() -> None:
    planning = cpp_chunk.LatencyModel(
        quadratic=8e-5, cross=5e-5, linear=0.02, context=0.0, constant=4.0 + GAP_MS
    )
    plan = cpp_chunk.plan_chunks(
        planning,
        16384,
        num_stages=2,
        max_chunk_tokens=CAP,
        min_chunk_tokens=FLOOR,
        alignment=128,
    )
    assert chunks_of(planner(), 16384) == plan.chunks
    assert len(plan.chunks) > 4


def test_without_a_model_and_at_smooth_factor_0_chunks_are_fixed() -> None:
    bare = ChunkPlanner(
        parse_config({"enabled": True}), num_stages=2, max_chunk_tokens=CAP, alignment_tokens=128
    )
    for made in (bare, planner(smooth_factor=0)):
        assert chunks_of(made, 40000, cap=4096) == [4096] * 9 + [40000 - 9 * 4096]
        assert made.target_ms is None


def test_targets() -> None:
    assert planner(target=80).target_ms == 80
    base_ms = planner(max_chunk_tokens=4096, target="base").target_ms
    assert base_ms == pytest.approx(MODEL.step_ms([(4096, 0)]) + GAP_MS)
    first = chunks_of(planner(max_chunk_tokens=4096, target="base"), 32768, cap=4096)[0]
    assert first == 4096


def test_a_default_min_chunk_is_a_ceiling_and_a_set_one_a_floor() -> None:
    assert FLOOR <= min(chunks_of(planner(), 16384)[:-1]) < 4096
    *others, last = chunks_of(planner(min_chunk=4096), 16384)
    assert min(others) >= 4096
    assert last >= others[-1] / 2


def test_a_min_chunk_above_the_budget_is_lowered_with_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger="vllm"):
        logging.getLogger("vllm").propagate = True
        made = planner(max_chunk_tokens=2048, min_chunk=4096)
    assert "min_chunk lowered from 4096 to max_num_batched_tokens, 2048 tokens" in caplog.text
    assert chunks_of(made, 8192, cap=2048) == [2048] * 4


def test_the_target_only_grows_while_prompts_are_under_way() -> None:
    made = planner()
    made.begin_step()
    made.admit([(16384, 0)], in_progress=False)
    alone_ms = made.target_ms
    assert alone_ms is not None
    made.admit([(1024, 4096), (8, 0)], in_progress=True)
    assert made.target_ms == alone_ms
    made.admit([(1024, 4096), *[(16384, 0)] * 15], in_progress=True)
    assert made.target_ms > alone_ms
    made.admit([(8, 0)], in_progress=False)
    assert made.target_ms < alone_ms


def test_decodes_and_other_chunks_share_the_step() -> None:
    made = planner()
    made.begin_step()
    made.admit([(16384, 0)], in_progress=False)
    alone = made.chunk_tokens(16384, 0, CAP)
    for _ in range(256):
        made.add(1, 4000)
    beside_decodes = made.chunk_tokens(16384, 0, CAP)
    assert 0 < beside_decodes < alone
    made.add(beside_decodes, 0)
    # The step is full: the next prompt waits for the next one.
    assert made.chunk_tokens(16384, 0, CAP) <= 128


def test_decodes_count_as_overhead_of_every_step() -> None:
    made = planner()
    made.begin_step()
    made.admit([(1000, 0)], in_progress=False)
    alone_ms, alone = made.target_ms, made.chunk_tokens(1000, 0, CAP)
    assert alone_ms is not None
    made.begin_step()
    for _ in range(256):
        made.add(1, 4000)
    decodes_ms = MODEL.step_ms([(1, 4000)] * 256)
    made.admit([(1000, 0)], in_progress=False)
    assert made.target_ms is not None
    # Cutting a short prompt would make it wait through all those decodes again.
    assert made.target_ms > alone_ms + decodes_ms
    assert made.chunk_tokens(1000, 0, CAP) >= alone


def test_three_short_requests_do_no_harm() -> None:
    made = planner()
    for _ in range(3):
        made.begin_step()
        made.admit([(8, 0)], in_progress=False)
        made.add(made.chunk_tokens(8, 0, CAP), 0)
    assert chunks_of(made, 16384) == chunks_of(planner(), 16384)
