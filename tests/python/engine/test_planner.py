"""The planner on the native core: targets, floors, and who fills a step."""

from __future__ import annotations

import logging
from typing import Any

import cpp_chunk
import pytest
from cpp_chunk.engine.planner import ServingPlanner
from cpp_chunk.settings.config import parse_config

MODEL = cpp_chunk.LatencyModel(quadratic=8e-5, cross=5e-5, linear=0.02, context=0.0, constant=4.0)
GAP_MS = 1.0
# The published stage of Kimi-K2.5, without the engine's gap.
KIMI_STAGE = cpp_chunk.LatencyModel(
    quadratic=6.5e-7, cross=6.5e-7, linear=6.03e-3, context=5.39e-4, constant=26.1
)
CAP = 16384
FLOOR = 256


def planner(max_chunk_tokens: int = CAP, **settings: Any) -> ServingPlanner:
    made = ServingPlanner(
        parse_config({"enabled": True} | settings),
        max_chunk_tokens=max_chunk_tokens,
        alignment_tokens=128,
        smallest_profiled_tokens=FLOOR,
    )
    made.set_models([MODEL, MODEL], GAP_MS)
    return made


def chunks_of(made: ServingPlanner, prompt_tokens: int, cap: int = CAP) -> list[int]:
    chunks: list[int] = []
    while sum(chunks) < prompt_tokens:
        if not chunks:
            made.set_backlog([(prompt_tokens, 0)], 0)
        made.begin_step()
        remaining = prompt_tokens - sum(chunks)
        chunk = made.chunk_tokens(remaining, sum(chunks), min(cap, remaining))
        made.add_chunk(chunk, sum(chunks))
        chunks.append(chunk)
    return chunks


def test_steps_are_as_long_as_the_steps_in_flight_allow() -> None:
    def target_ms(max_in_flight: int | None) -> float:
        made = ServingPlanner(
            parse_config({"enabled": True}),
            max_chunk_tokens=CAP,
            alignment_tokens=128,
            smallest_profiled_tokens=FLOOR,
            max_in_flight=max_in_flight,
        )
        made.set_models([KIMI_STAGE] * 4, GAP_MS)
        made.set_backlog([(60_000, 0)] * 8, 0, num_decodes=400, decode_context_tokens=1_600_000)
        assert made.target_ms is not None
        return made.target_ms

    native = cpp_chunk.ChunkPlanner(
        [KIMI_STAGE.with_overhead(GAP_MS)] * 4,
        max_chunk_tokens=CAP,
        min_chunk_tokens=FLOOR,
        alignment=128,
        max_in_flight=8,
    )
    native.set_decodes(400, 1_600_000)
    native.set_backlog([(60_000, 0)] * 8, 0)
    assert target_ms(8) == native.target_ms
    assert target_ms(None) == target_ms(4)
    # Of the decodes, fewer are in each of more steps.
    assert target_ms(8) != target_ms(4)


def test_serving_takes_the_chunks_of_the_plan() -> None:
    planning = cpp_chunk.LatencyModel(
        quadratic=8e-5, cross=5e-5, linear=0.02, context=0.0, constant=4.0 + GAP_MS
    )
    plan = cpp_chunk.plan_chunks(
        [planning] * 2,
        16384,
        max_chunk_tokens=CAP,
        min_chunk_tokens=FLOOR,
        alignment=128,
    )
    assert chunks_of(planner(), 16384) == plan.chunks
    assert len(plan.chunks) > 4


def test_without_a_model_and_at_smooth_factor_0_chunks_are_fixed() -> None:
    bare = ServingPlanner(
        parse_config({"enabled": True}), max_chunk_tokens=CAP, alignment_tokens=128
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
    made = ServingPlanner(
        parse_config({"enabled": True}), max_chunk_tokens=32768, alignment_tokens=16
    )
    made.set_models([KIMI_STAGE] * 4, 17.5)
    made.set_backlog([(131072, 0)], 0)
    alone_ms = made.target_ms
    assert alone_ms is not None
    made.scheduled(1, [(65536, 0)])
    made.set_backlog([(65536, 65536), (8, 0)], 1)
    assert made.target_ms == alone_ms
    made.set_backlog([(65536, 65536), *[(131072, 0)] * 15], 1)
    assert made.target_ms > alone_ms
    # Nothing is in flight or under way any more.
    made.left(1)
    made.set_backlog([(8, 0)], 0)
    assert made.target_ms < alone_ms


def test_decodes_and_other_chunks_share_the_step() -> None:
    made = planner()
    made.begin_step()
    made.set_backlog([(16384, 0)], 0)
    alone = made.chunk_tokens(16384, 0, CAP)
    for _ in range(256):
        made.add_chunk(1, 4000)
    beside_decodes = made.chunk_tokens(16384, 0, CAP)
    assert 0 < beside_decodes < alone
    made.add_chunk(beside_decodes, 0)
    # The step is full: the next prompt waits for the next one.
    assert made.chunk_tokens(16384, 0, CAP) <= 128


def test_decodes_count_as_overhead_of_every_step() -> None:
    made = planner()
    made.begin_step()
    made.set_backlog([(1000, 0)], 0)
    alone_ms, alone = made.target_ms, made.chunk_tokens(1000, 0, CAP)
    assert alone_ms is not None
    made.begin_step()
    for _ in range(256):
        made.add_chunk(1, 4000)
    decodes_ms = MODEL.step_ms([(1, 4000)] * 256)
    # As many in the other step in flight.
    made.set_backlog([(1000, 0)], 0, 512, 512 * 4000)
    assert made.target_ms is not None
    # Cutting a short prompt would make it wait through all those decodes again.
    assert made.target_ms > alone_ms + decodes_ms
    assert made.chunk_tokens(1000, 0, CAP) >= alone


def test_three_short_requests_do_no_harm() -> None:
    made = planner()
    for step_id in range(3):
        made.begin_step()
        made.set_backlog([(8, 0)], 0)
        made.add_chunk(made.chunk_tokens(8, 0, CAP), 0)
        made.scheduled(step_id, [(8, 0)])
        made.left(step_id)
    assert chunks_of(made, 16384) == chunks_of(planner(), 16384)


def test_many_decodes_at_once_are_as_many_single_ones() -> None:
    chunks = []
    for at_once in (True, False):
        made = planner()
        made.set_backlog([(16384, 0)], 0)
        made.begin_step()
        if at_once:
            made.add_decodes(64, 64 * 4000)
        else:
            for _ in range(64):
                made.add_chunk(1, 4000)
        chunks.append(made.chunk_tokens(16384, 0, CAP))
    assert chunks[0] == chunks[1] > 0


def test_max_step_ms_bounds_every_step() -> None:
    free = planner()
    free.set_backlog([(16384, 0)] * 20, 0)
    assert free.target_ms is not None and free.target_ms > 75
    made = planner(max_step_ms=75)
    made.set_backlog([(8192, 0)] * 20, 0)
    assert made.target_ms == 75
    planning = MODEL.with_overhead(GAP_MS)
    done = 0
    while done < 8192:
        made.begin_step()
        made.add_decodes(32, 32 * 1000)
        chunk = made.chunk_tokens(8192 - done, done, CAP)
        assert planning.step_ms([(1, 1000)] * 32 + [(chunk, done)]) <= 75
        done += chunk


def test_unequal_stages_get_a_ramp() -> None:
    made = ServingPlanner(
        parse_config({"enabled": True}), max_chunk_tokens=32768, alignment_tokens=16
    )
    made.set_models([KIMI_STAGE] * 3 + [KIMI_STAGE.scaled(1.2)], 17.5)
    made.set_backlog([(131072, 0)], 0)
    targets_ms: list[float] = []
    done = 0
    while done < 131072:
        made.begin_step()
        assert made.target_ms is not None
        targets_ms.append(made.target_ms)
        chunk = made.chunk_tokens(131072 - done, done, 32768)
        made.add_chunk(chunk, done)
        made.scheduled(len(targets_ms), [(chunk, done)])
        done += chunk
    assert targets_ms[8] > 1.2 * targets_ms[0]
    assert targets_ms == sorted(targets_ms)


def test_while_distrusted_chunks_are_fixed_and_booked() -> None:
    made = planner()
    made.set_backlog([(65536, 0)], 0)
    made.trust(trusted=False)
    assert made.target_ms is None
    made.begin_step()
    assert made.chunk_tokens(65536, 0, CAP) == CAP
    made.scheduled(1, [(CAP, 0)])
    made.trust(trusted=True)
    # Nothing is under way, but that step is inside: the pipeline is not idle.
    busy_ms, idle = made.target_ms, planner()
    idle.set_backlog([(500, 0)], 0)
    made.set_backlog([(65536 - CAP, CAP)], 1)
    assert made.target_ms is not None and busy_ms is not None and idle.target_ms is not None
    assert made.target_ms >= busy_ms > 2 * idle.target_ms
    made.left(1)
    made.set_backlog([(500, 0)], 0)
    assert made.target_ms == idle.target_ms
