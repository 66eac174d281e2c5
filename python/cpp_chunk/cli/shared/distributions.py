"""Lengths of prompts and outputs: one number, or a distribution to draw from."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cpp_chunk.cli.shared.values import MAX_TOKENS, Kind, read_tokens

if TYPE_CHECKING:
    import random

# Shares at which an inverse normal distribution is still finite.
_LEAST_SHARE = 1e-15


class Lengths(Protocol):
    """Something that tokens are drawn from."""

    def draw(self, generator: random.Random) -> int:
        """One length in tokens."""

    def __str__(self) -> str:
        """As it is written on the command line."""


@dataclass(frozen=True)
class Constant:
    """Always the same."""

    tokens: int

    def __str__(self) -> str:
        return f"{self.tokens}"

    def draw(self, generator: random.Random) -> int:
        """The one length there is."""
        return self.tokens


@dataclass(frozen=True)
class Uniform:
    """Every length from `low` to `high` alike, both included."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"uniform:{self.low}-{self.high}"

    def draw(self, generator: random.Random) -> int:
        """One length in tokens."""
        return generator.randint(self.low, self.high)


@dataclass(frozen=True)
class Normal:
    """A normal distribution cut off at both ends: what lies outside is not drawn at all.

    `mean` and `std` are those before the cut.
    """

    mean: int
    std: int
    min_tokens: int
    max_tokens: int

    def __str__(self) -> str:
        return f"normal:{_parameters(self)}"

    def draw(self, generator: random.Random) -> int:
        """One length in tokens."""
        number = _truncated_normal(generator, self.mean, self.std, self.min_tokens, self.max_tokens)
        return _within(number, self.min_tokens, self.max_tokens)


@dataclass(frozen=True)
class LogNormal:
    """A log-normal distribution, cut off as the normal one; `mean` and `std` are of the tokens."""

    mean: int
    std: int
    min_tokens: int
    max_tokens: int

    def __str__(self) -> str:
        return f"lognormal:{_parameters(self)}"

    def draw(self, generator: random.Random) -> int:
        """One length in tokens."""
        variance = math.log1p((self.std / self.mean) ** 2)
        exponent = _truncated_normal(
            generator,
            math.log(self.mean) - variance / 2,
            math.sqrt(variance),
            math.log(self.min_tokens),
            math.log(self.max_tokens),
        )
        return _within(math.exp(exponent), self.min_tokens, self.max_tokens)


def _parameters(bell: Normal | LogNormal) -> str:
    text = f"mean={bell.mean},std={bell.std},min={bell.min_tokens}"
    return text if bell.max_tokens == MAX_TOKENS else f"{text},max={bell.max_tokens}"


def _truncated_normal(
    generator: random.Random, mean: float, std: float, low: float, high: float
) -> float:
    """Drawn from the share of the distribution between the ends, so never drawn again."""
    if std == 0:
        return mean
    normal = statistics.NormalDist(mean, std)
    share = generator.uniform(normal.cdf(low), normal.cdf(high))
    return normal.inv_cdf(min(max(share, _LEAST_SHARE), 1 - _LEAST_SHARE))


def _within(number: float, low: int, high: int) -> int:
    return min(max(round(number), low), high)


def _read_uniform(text: str) -> Uniform:
    low, high = (read_tokens(part) for part in text.split("-"))
    if not 1 <= low <= high:
        raise ValueError(text)
    return Uniform(low, high)


def _read_bell(text: str, kind: type[Normal | LogNormal]) -> Normal | LogNormal:
    given: dict[str, int] = {}
    for pair in text.split(","):
        key, separator, value = pair.partition("=")
        if not separator or key in given or key not in {"mean", "std", "min", "max"}:
            raise ValueError(pair)
        given[key] = read_tokens(value)
    if not {"mean", "std"} <= given.keys():
        raise ValueError(text)
    low, high = given.get("min", 1), given.get("max", MAX_TOKENS)
    # A mean outside of its ends leaves next to nothing to draw from.
    if not 1 <= low <= given["mean"] <= high:
        raise ValueError(text)
    return kind(given["mean"], given["std"], low, high)


def read_lengths(text: str) -> Lengths:
    """Reads a number of tokens or a distribution.

    Raises:
        ValueError: it is neither.
    """
    name, separator, parameters = text.partition(":")
    if not separator:
        tokens = read_tokens(text)
        if tokens < 1:
            raise ValueError(text)
        return Constant(tokens)
    match name.strip():
        case "uniform":
            return _read_uniform(parameters)
        case "normal":
            return _read_bell(parameters, Normal)
        case "lognormal":
            return _read_bell(parameters, LogNormal)
    raise ValueError(text)


def _lengths_like(examples: str) -> Kind[Lengths]:
    return Kind(
        read_lengths,
        f"a number of tokens from 1 ({examples}), uniform:LOW-HIGH, or normal:mean=..,std=.. or "
        "lognormal:mean=..,std=.., both with min=.. and max=.. if wanted and the mean within them",
    )


PROMPT_LENGTHS = _lengths_like("131072, 128k")
OUTPUT_LENGTHS = _lengths_like("1, 256")
