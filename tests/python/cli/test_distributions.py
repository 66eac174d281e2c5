"""Lengths: one number, or a distribution to draw from."""

from __future__ import annotations

import random
import statistics

import pytest
from cpp_chunk.cli.shared.distributions import Constant, LogNormal, Normal, Uniform, read_lengths


def draws(text: str, count: int = 4000) -> list[int]:
    generator = random.Random(7)
    lengths = read_lengths(text)
    return [lengths.draw(generator) for _ in range(count)]


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("131072", Constant(131072)),
        ("128k", Constant(131072)),
        ("128K", Constant(131072)),
        ("1m", Constant(1 << 20)),
        ("1.5k", Constant(1536)),
        ("uniform:4096-65536", Uniform(4096, 65536)),
        ("uniform:4k-64k", Uniform(4096, 65536)),
        ("normal:mean=32k,std=1k", Normal(32768, 1024, 1, 10**12)),
        ("normal:mean=32768,std=32768,min=4096,max=65536", Normal(32768, 32768, 4096, 65536)),
        ("lognormal:mean=8k,std=16k,max=128k", LogNormal(8192, 16384, 1, 131072)),
    ],
)
def test_what_is_read_is_written_again(text: str, lengths: object) -> None:
    assert read_lengths(text) == lengths
    assert read_lengths(str(lengths)) == lengths


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-1",
        "1.3",
        "1e3",
        "12x",
        "nan",
        "10000000m",
        "uniform:",
        "uniform:5-4",
        "uniform:0-4",
        "uniform:1-2-3",
        "normal:",
        "normal:mean=5",
        "normal:mean=5,std=1,median=2",
        "normal:mean=5,mean=6,std=1",
        "normal:mean=5,std=1,min=6",
        "normal:mean=5,std=1,max=4",
        "lognormal:mean=0,std=1",
        "zipf:1-2",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read_lengths(text)


def test_same_seed_same_draws() -> None:
    assert draws("uniform:1-1000000", 50) == draws("uniform:1-1000000", 50)


def test_uniform_covers_both_ends() -> None:
    assert set(draws("uniform:3-6")) == {3, 4, 5, 6}


def test_normal_is_cut_off_not_pushed_to_its_ends() -> None:
    sample = draws("normal:mean=32768,std=32768,min=4096,max=65536")
    assert 4096 <= min(sample) < 5000
    assert 64000 < max(sample) <= 65536
    # Clamping would put a fifth of the draws on the lower end.
    assert sample.count(4096) < 5
    assert statistics.fmean(sample) == pytest.approx(34000, rel=0.03)


def test_normal_without_ends_has_its_mean_and_deviation() -> None:
    sample = draws("normal:mean=100k,std=5k")
    assert statistics.fmean(sample) == pytest.approx(102400, rel=0.01)
    assert statistics.stdev(sample) == pytest.approx(5120, rel=0.05)


def test_lognormal_parameters_are_of_the_tokens() -> None:
    sample = draws("lognormal:mean=8k,std=4k", 20000)
    assert statistics.fmean(sample) == pytest.approx(8192, rel=0.02)
    assert statistics.stdev(sample) == pytest.approx(4096, rel=0.05)
    assert min(sample) >= 1


@pytest.mark.parametrize(
    "text",
    ["normal:mean=9,std=0", "normal:mean=9,std=1m,min=9,max=9", "lognormal:mean=9,std=0"],
)
def test_degenerate_distributions_are_constant(text: str) -> None:
    assert set(draws(text, 20)) == {9}
