"""The start-up profile's passes, for budgets and contexts of every size."""

from __future__ import annotations

import random
import statistics
from typing import TYPE_CHECKING

import cpp_chunk
import pytest
from cpp_chunk.engine.profile.passes import (
    MAX_PASSES,
    MAX_PASSES_DISTURBED,
    noise_of,
    probe,
    profile_space,
    take_profile,
    undisturbed,
    unsure_chunks,
)
from cpp_chunk.engine.profile.profiler import ProfilePass
from cpp_chunk.engine.stage_fits import fit_profile

if TYPE_CHECKING:
    from collections.abc import Sequence

TRUTH = cpp_chunk.LatencyModel(quadratic=1e-4, cross=9e-5, linear=0.04, context=3e-4, constant=7)


STAGE_SHARES = (1.0, 0.9)


class Device:
    """Stands for the profiler: runs passes on a device of a known model.

    Args:
        noise: relative standard deviation of every time.
        slowdown: of every time.
        disturbed: the share of times that something else makes longer, of each stage by itself.
        disturbance: by how much of their length, on average; exponentially distributed.
    """

    def __init__(
        self,
        noise: float = 0.0,
        slowdown: float = 1.0,
        disturbed: float = 0.0,
        disturbance: float = 2.0,
        seed: int = 1,
    ) -> None:
        self.rounds: list[list[tuple[int, int]]] = []
        self._random = random.Random(seed)
        self._noise = noise
        self.slowdown = slowdown
        self._disturbed = disturbed
        self._disturbance = disturbance

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
        ms = TRUTH.step_ms([(num_tokens, history)]) * self.slowdown
        ms *= self._random.gauss(1, self._noise)
        first, second = (share * ms * self._disturbed_by() for share in STAGE_SHARES)
        return ProfilePass(num_tokens, history, ((0.0, first), (0.0, second)))

    def _disturbed_by(self) -> float:
        if self._random.random() >= self._disturbed:
            return 1.0
        return 1 + self._random.expovariate(1 / self._disturbance)


class BusyAtFirst(Device):
    """Something else has the machine while the first passes run, and then it has ended."""

    def _disturbed_by(self) -> float:
        return 40.0 if len(self.passes) <= 8 else 1.0


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


def errors_of(device: Device, max_context_tokens: int = 32768) -> list[float]:
    """Takes a profile; how far each stage's model is off over what may be served."""
    space, smallest = profile_space(4096, max_context_tokens, 128)
    passes = undisturbed(take_profile(device, space))  # type: ignore[arg-type]
    samples = [([(one.num_tokens, one.num_computed_tokens)], one.stage_ms) for one in passes]
    _, fits = fit_profile(samples, len(STAGE_SHARES))
    return [
        abs(model.step_ms([chunk]) / (share * device.slowdown * TRUTH.step_ms([chunk])) - 1)
        for model, share in zip(fits.models, STAGE_SHARES, strict=True)
        for num_tokens in (smallest, 512, 2048, 4096)
        for chunk in ((num_tokens, 0), (num_tokens, max_context_tokens // 2))
    ]


@pytest.mark.parametrize(
    ("disturbed", "disturbance", "limit"),
    [
        # What is disturbed now and then is found out altogether.
        (0.1, 2.0, 0.01),
        (0.3, 6.0, 0.02),
        (0.6, 2.0, 0.05),
        # The shortest of some times that are all too long: three times too long on average.
        (0.8, 2.0, 0.15),
        (1.0, 0.5, 0.2),
        (1.0, 2.0, 0.6),
    ],
)
def test_a_busy_machine_gets_a_profile(disturbed: float, disturbance: float, limit: float) -> None:
    errors = []
    for seed in range(20):
        device = Device(noise=0.01, disturbed=disturbed, disturbance=disturbance, seed=seed)
        errors.append(statistics.fmean(errors_of(device)))
        assert len(device.passes) <= MAX_PASSES_DISTURBED
    assert statistics.median(errors) < limit


def test_repeats_end_after_about_a_minute() -> None:
    device = Device(slowdown=20, disturbed=0.5, disturbance=5.0)
    space, _ = profile_space(4096, 32768, 128)
    passes = take_profile(device, space)  # type: ignore[arg-type]
    assert len(device.passes) < MAX_PASSES_DISTURBED
    assert unsure_chunks(passes)
    # A few passes are under way when the minute is over.
    extra_ms = [one.slowest_ms for one in passes[MAX_PASSES - 1 :]]
    assert sum(extra_ms[:-8]) < 60_000


def test_repeats_that_find_no_room_come_to_an_end() -> None:
    class FullThen(Device):
        def run(self, passes: Sequence[tuple[int, int]]) -> list[ProfilePass]:
            return super().run(passes) if len(self.passes) < MAX_PASSES else []

    device = FullThen(disturbed=0.8)
    space, _ = profile_space(4096, 32768, 128)
    passes = take_profile(device, space)  # type: ignore[arg-type]
    assert len(passes) == MAX_PASSES - 1


def test_a_busy_beginning_does_not_leave_too_few_passes_for_a_fit() -> None:
    device = BusyAtFirst()
    # Scouts were 40 times too long: at that, there are few passes that do not take too long.
    assert max(errors_of(device)) < 0.05


def test_where_every_pass_takes_long_there_are_as_many_as_a_fit_needs() -> None:
    """A machine that is busy all the time: even the shortest pass takes seconds."""
    device = Device(slowdown=300, noise=0.01, disturbed=0.3, disturbance=1.0)
    assert statistics.fmean(errors_of(device)) < 0.2
    assert len(device.passes) < MAX_PASSES_DISTURBED


def test_a_disturbed_chunk_counts_with_the_shortest_time_of_each_stage() -> None:
    def one(tokens: int, *stage_ms: float) -> ProfilePass:
        return ProfilePass(tokens, 0, tuple((0.0, ms) for ms in stage_ms))

    sure = [one(128, 10.0, 9.0), one(128, 10.5, 9.3)]
    unsure = [one(256, 40.0, 18.0), one(256, 20.0, 70.0)]
    once = [one(512, 40.0, 36.0)]
    assert undisturbed([*sure, *unsure, *once]) == [*sure, one(256, 20.0, 18.0), *once]
    # 70 ms to 18 ms on the second stage.
    assert unsure_chunks([*sure, *unsure, *once]) == {(256, 0): pytest.approx(70 / 18 - 1)}
    sure_now = [*unsure, one(256, 20.0, 18.0)]
    assert unsure_chunks(sure_now) == {}
    assert undisturbed(sure_now) == [one(256, 20.0, 18.0)]


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
    # Both once more, since what disturbs a pass makes it longer.
    assert len(other.passes) == 5
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
    assert len(passes) == MAX_PASSES - 5


def test_a_disturbed_probe_does_not_cost_a_good_profile() -> None:
    class DisturbedOnce(Device):
        def _disturbed_by(self) -> float:
            return 3.0 if len(self.rounds) == 1 else 1.0

    device = DisturbedOnce()
    models = [scaled(TRUTH, share) for share in STAGE_SHARES]
    assert probe(device, [(512, 0), (512, 4096)], models) is None  # type: ignore[arg-type]
    assert len(device.passes) == 5


def test_probes_without_room_do_not_trust_a_profile() -> None:
    class Full(Device):
        def run(self, passes: Sequence[tuple[int, int]]) -> list[ProfilePass]:
            return []

    why_not = probe(Full(), [(512, 0)], [TRUTH, TRUTH])  # type: ignore[arg-type]
    assert why_not == "there is no room for its passes"


def test_noise_is_that_of_passes_measured_twice() -> None:
    def one(tokens: int, ms: float) -> ProfilePass:
        return ProfilePass(tokens, 0, ((0.0, ms),))

    assert noise_of([one(128, 10.0), one(256, 20.0)]) is None
    assert noise_of([one(128, 10.0), one(128, 10.0), one(256, 5.0)]) == 0
    rng = random.Random(0)
    many = [one(index // 2, 100 * rng.gauss(1, 0.05)) for index in range(2000)]
    assert noise_of(many) == pytest.approx(0.05, rel=0.1)
