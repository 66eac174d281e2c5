"""What must always hold of a calibrated model and of a designed profile, whatever was measured."""

import math
from collections.abc import Sequence

import cpp_chunk
import pytest
from hypothesis import given
from hypothesis import strategies as st

FAR = 10**12
KIMI = cpp_chunk.LatencyModel(
    quadratic=6.5e-7, cross=6.5e-7, linear=6.03e-3, context=5.39e-4, constant=43.6
)
Chunk = tuple[int, int]

tokens = st.one_of(st.integers(0, 200_000), st.integers(0, 16), st.integers(0, FAR))
chunks = st.tuples(tokens, tokens)
# Mostly what a device might do, sometimes any number at all.
factors = st.one_of(
    st.just(1.0), st.floats(0.5, 2.0), st.floats(-12, 12).map(lambda exponent: 10.0**exponent)
)
any_ms = st.floats()


@st.composite
def samples(draw: st.DrawFn, most: int = 40) -> list[tuple[list[Chunk], float]]:
    """Steps of any kind, some of them many times over."""
    drawn = []
    for _ in range(draw(st.integers(0, 8))):
        step = draw(st.lists(chunks, max_size=3))
        latency_ms = draw(any_ms) if draw(st.booleans()) else draw(factors) * KIMI.step_ms(step)
        drawn += [(step, latency_ms)] * draw(st.sampled_from([1, 1, 3, 12]))
    return drawn[:most]


def profile() -> list[tuple[list[Chunk], float]]:
    passes = [(x, h) for x in (64, 256, 2048, 8192) for h in (0, 4096, 65536)]
    return [([one], KIMI.step_ms([one])) for one in passes]


def assert_is_a_model(model: cpp_chunk.LatencyModel) -> None:
    for cost in (model.quadratic, model.cross, model.linear, model.context, model.constant):
        assert math.isfinite(cost)
        assert cost >= 0


@given(st.sampled_from([profile(), []]), samples(), st.integers(1, 32))
def test_steps_give_a_model_or_are_refused(
    passes: list[tuple[list[Chunk], float]],
    steps: list[tuple[list[Chunk], float]],
    capacity: int,
) -> None:
    calibrator = cpp_chunk.Calibrator(passes, capacity=capacity)
    num_kept = sum(calibrator.add(*step) for step in steps)
    assert calibrator.num_recent == min(capacity, num_kept)
    assert calibrator.num_rejected == len(steps) - num_kept
    try:
        report = calibrator.refit()
    except cpp_chunk.FitRefused:
        return
    assert_is_a_model(report.model)
    assert 0 <= report.mean_relative_error <= 0.3
    assert 0 < calibrator.scale < math.inf


@given(st.floats(0.2, 5.0), st.integers(1, 100_000), st.integers(0, 100_000))
def test_one_kind_of_step_is_followed(factor: float, num_tokens: int, history: int) -> None:
    """Where its tokens cost as much as a profile's do."""
    step = [(max(256, num_tokens), history)]
    calibrator = cpp_chunk.Calibrator(profile(), capacity=64)
    for _ in range(4):
        for _ in range(16):
            calibrator.add(step, factor * KIMI.step_ms(step))
        model = calibrator.refit().model
    assert model.step_ms(step) == pytest.approx(factor * KIMI.step_ms(step), rel=0.06)


@st.composite
def spaces(draw: st.DrawFn) -> tuple[cpp_chunk.ProfileSpace, int, int, int]:
    """A space, with its smallest chunk, its largest and its context."""
    most = draw(st.sampled_from([1, 300, 8192, 131_072, FAR]))
    max_context_tokens = draw(st.integers(1, most))
    max_chunk_tokens = draw(st.integers(1, max_context_tokens))
    smallest_chunk_tokens = draw(st.integers(1, max_chunk_tokens))
    space = cpp_chunk.ProfileSpace(
        smallest_chunk_tokens=smallest_chunk_tokens,
        max_chunk_tokens=max_chunk_tokens,
        max_context_tokens=max_context_tokens,
        alignment=draw(st.sampled_from([1, 16, 48, 128, 4096])),
        longest_pass_ms=draw(st.sampled_from([math.inf, 1e3, 1.0])),
    )
    return space, smallest_chunk_tokens, max_chunk_tokens, max_context_tokens


def assert_inside(passes: Sequence[Chunk], smallest: int, largest: int, context: int) -> None:
    for num_tokens, history in passes:
        assert smallest <= num_tokens <= largest
        assert 0 <= history <= context - num_tokens
    assert len(set(passes)) == len(passes)


@given(spaces(), st.lists(factors, min_size=5, max_size=5), st.integers(0, 6), st.integers(0, 4))
def test_passes_are_inside_their_space(
    bounds: tuple[cpp_chunk.ProfileSpace, int, int, int],
    noise: list[float],
    num_new: int,
    num_repeats: int,
) -> None:
    space, smallest, largest, context = bounds
    scouts = cpp_chunk.scouting_passes(space)
    assert scouts
    assert_inside(scouts, smallest, largest, context)
    measured = [
        (one, factor * KIMI.step_ms([one])) for one, factor in zip(scouts, noise, strict=False)
    ]
    chosen = cpp_chunk.next_passes(space, measured, num_new=num_new, num_repeats=num_repeats)
    assert_inside(chosen, smallest, largest, context)
    fresh = [one for one in chosen if one not in scouts]
    assert chosen[: len(fresh)] == fresh
    assert len(fresh) <= num_new
    assert len(chosen) - len(fresh) == min(num_repeats, len(scouts))
