"""The start-up profile's passes, for budgets and contexts of every size."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import cpp_chunk
import pytest
from cpp_chunk.engine.profile import ProfilePass
from cpp_chunk.engine.profile_passes import (
    MAX_PASSES,
    noise_of,
    probe,
    profile_space,
    take_profile,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

TRUTH = cpp_chunk.LatencyModel(quadratic=1e-4, cross=9e-5, linear=0.04, context=3e-4, constant=7)


class Device:
    """Stands for the profiler: runs passes on a device of a known model."""

    def __init__(self, noise: float = 0.0, slowdown: float = 1.0) -> None:
        self.rounds: list[list[tuple[int, int]]] = []
        self._random = random.Random(1)
        self._noise = noise
        self._slowdown = slowdown

    @property
    def num_passes(self) -> int:
        return len(self.passes)

    @property
    def passes(self) -> list[tuple[int, int]]:
        return [one for some in self.rounds for one in some]

    def run(self, passes: Sequence[tuple[int, int]]) -> list[ProfilePass]:
        self.rounds.append(list(passes))
        return [self._run(*one) for one in passes]

    def _run(self, num_tokens: int, history: int) -> ProfilePass:
        ms = TRUTH.step_ms([(num_tokens, history)]) * self._slowdown
        ms *= self._random.gauss(1, self._noise)
        return ProfilePass(num_tokens, history, ((0.0, ms), (0.0, 0.9 * ms)))


@pytest.mark.parametrize("max_chunk_tokens", [256, 512, 1024, 8192, 32768, 131072])
@pytest.mark.parametrize("max_context_tokens", [4096, 32768, 131072, 1_048_576])
@pytest.mark.parametrize("alignment_tokens", [16, 128])
def test_a_profile_carries_a_fit_that_holds_everywhere(
    max_chunk_tokens: int, max_context_tokens: int, alignment_tokens: int
) -> None:
    device = Device(noise=0.02)
    space, smallest = profile_space(max_chunk_tokens, max_context_tokens, alignment_tokens)
    passes = take_profile(device, space)  # type: ignore[arg-type]
    assert len(device.passes) <= MAX_PASSES
    # The warm-up is not among them, and some were measured twice.
    assert len(passes) == len(device.passes) - 1
    assert noise_of(passes) is not None
    for one in passes:
        assert 0 < one.num_tokens <= max_chunk_tokens
        assert one.num_tokens + one.num_computed_tokens <= max_context_tokens
    fit = cpp_chunk.fit_latency_model(
        [([(one.num_tokens, one.num_computed_tokens)], one.slowest_ms) for one in passes]
    )
    largest = min(max_chunk_tokens, max_context_tokens)
    for num_tokens in (smallest, largest // 4, largest):
        for history in (0, (max_context_tokens - num_tokens) // 2):
            expected_ms = TRUTH.step_ms([(num_tokens, history)])
            # Steps of half a minute and more were left out: there it is an extrapolation.
            limit = 0.1 if expected_ms < 30_000 else 0.3
            assert fit.model.step_ms([(num_tokens, history)]) == pytest.approx(
                expected_ms, rel=limit
            )


def test_no_pass_takes_long() -> None:
    device = Device()
    space, _ = profile_space(131072, 1_048_576, 16)
    passes = take_profile(device, space)  # type: ignore[arg-type]
    # Scouts are chosen before anything is known.
    assert all(one.slowest_ms < 2000 for one in passes[5:])


def test_an_old_profile_is_trusted_after_two_probes_if_it_holds() -> None:
    space, _ = profile_space(4096, 16384, 128)
    chunks = [
        (one.num_tokens, one.num_computed_tokens)
        for one in take_profile(Device(), space)  # type: ignore[arg-type]
    ]
    models = [TRUTH, TRUTH.with_overhead(0.0)]
    same, other = Device(slowdown=1.05), Device(slowdown=1.4)
    assert probe(same, chunks, [TRUTH, scaled(TRUTH, 0.9)]) is None  # type: ignore[arg-type]
    assert len(same.passes) == 3
    why_not = probe(other, chunks, models)  # type: ignore[arg-type]
    assert why_not is not None
    assert "on stage 0, and not" in why_not
    assert probe(same, [], models) == "it has no passes"  # type: ignore[arg-type]


def scaled(model: cpp_chunk.LatencyModel, factor: float) -> cpp_chunk.LatencyModel:
    return cpp_chunk.LatencyModel(
        quadratic=factor * model.quadratic,
        cross=factor * model.cross,
        linear=factor * model.linear,
        context=factor * model.context,
        constant=factor * model.constant,
    )


def test_probes_that_failed_count_among_the_passes() -> None:
    space, _ = profile_space(4096, 16384, 128)
    device = Device(slowdown=1.4)
    assert probe(device, [(512, 0), (512, 4096)], [TRUTH, TRUTH]) is not None  # type: ignore[arg-type]
    passes = take_profile(device, space)  # type: ignore[arg-type]
    assert len(device.passes) == MAX_PASSES
    assert len(passes) == MAX_PASSES - 3


def test_noise_is_that_of_passes_measured_twice() -> None:
    def one(tokens: int, ms: float) -> ProfilePass:
        return ProfilePass(tokens, 0, ((0.0, ms),))

    assert noise_of([one(128, 10.0), one(256, 20.0)]) is None
    assert noise_of([one(128, 10.0), one(128, 10.0), one(256, 5.0)]) == 0
    rng = random.Random(0)
    many = [one(index // 2, 100 * rng.gauss(1, 0.05)) for index in range(2000)]
    assert noise_of(many) == pytest.approx(0.05, rel=0.1)
