"""Values of options: how each kind is read from text, and what is allowed for it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import typer

from cpp_chunk.cli.shared.errors import CommandError, wrong_value

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MAX_TOKENS = 10**12
MAX_STAGES = 65_536
_TOKENS = re.compile(r"(\d+(?:\.\d+)?)\s*([kKmM]?)")
_UNIT_TOKENS = {"": 1, "k": 1 << 10, "m": 1 << 20}


class WrongPartError(ValueError):
    """One part of a value is wrong: the message says which, what it is, and what is allowed."""


@dataclass(frozen=True)
class Kind(Generic[T]):
    """How a value is read, and the words for what may be written.

    Args:
        read: text to value; ValueError for what is not allowed, WrongPartError where it is known
            which part of a longer text that is.
        allowed: completes "allowed is ...".
    """

    read: Callable[[str], T]
    allowed: str


def read_tokens(text: str) -> int:
    """A number of tokens: 131072, 128k (times 1024), 1m (times 1024 twice).

    Raises:
        ValueError: it is something else, or not whole.
    """
    match = _TOKENS.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    tokens = float(match[1]) * _UNIT_TOKENS[match[2].lower()]
    if not tokens.is_integer() or tokens > MAX_TOKENS:
        raise ValueError(text)
    return int(tokens)


def tokens_from(minimum: int) -> Kind[int]:
    """Tokens, at least `minimum`."""

    def read(text: str) -> int:
        tokens = read_tokens(text)
        if tokens < minimum:
            raise ValueError(text)
        return tokens

    return Kind(read, f"a number of tokens from {minimum}, such as 4096 or 4k")


def whole_from(minimum: int, maximum: int) -> Kind[int]:
    """A whole number within both limits."""

    def read(text: str) -> int:
        number = int(text)
        if not minimum <= number <= maximum:
            raise ValueError(text)
        return number

    return Kind(read, f"a whole number from {minimum} to {maximum}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _non_negative(text: str) -> float:
    number = _finite(text)
    if number < 0:
        raise ValueError(text)
    return number


def _positive(text: str) -> float:
    number = _non_negative(text)
    if number == 0:
        raise ValueError(text)
    return number


def _share(text: str) -> float:
    number = _non_negative(text)
    if number > 1:
        raise ValueError(text)
    return number


@dataclass(frozen=True)
class LayerPartition:
    """Layers of each stage."""

    layers: tuple[int, ...]

    def __str__(self) -> str:
        return ",".join(map(str, self.layers))


def _layer_partition(text: str) -> LayerPartition:
    layers = tuple(int(part) for part in text.split(","))
    if min(layers) < 1:
        raise ValueError(text)
    return LayerPartition(layers)


NON_NEGATIVE = Kind(_non_negative, "a finite number of at least 0")
MILLISECONDS = Kind(_non_negative, "a finite number of milliseconds of at least 0")
POSITIVE_MILLISECONDS = Kind(_positive, "a finite number of milliseconds above 0")
SECONDS = Kind(_positive, "a finite number of seconds above 0")
RATE = Kind(_positive, "a finite number of requests a second above 0")
SHARE = Kind(_share, "a number from 0 to 1")
LAYERS = Kind(_layer_partition, "whole numbers of layers from 1, one a stage, such as 16,15,15,15")


def option(
    *names: str,
    kind: Kind[Any],
    help: str,  # noqa: A002
    metavar: str,
    panel: str,
    show_default: bool | str = True,
) -> Any:
    """A Typer option whose wrong values get our sentence, under the first of its names."""

    def read(text: Any) -> Any:
        # Defaults come through here as well, as values.
        if not isinstance(text, str):
            return text
        try:
            return kind.read(text)
        except WrongPartError as error:
            raise CommandError(f"{names[0]} is {text!r}: {error}.") from None
        except ValueError:
            raise wrong_value(names[0], text, kind.allowed) from None

    return typer.Option(
        *names,
        parser=read,
        help=help,
        metavar=metavar,
        rich_help_panel=panel,
        show_default=show_default,
    )
