"""Measured chunks from a CSV file, for the fit."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from itertools import count, takewhile
from typing import TYPE_CHECKING

from cpp_chunk.cli.shared.errors import CommandError, unreadable, wrong_value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class RowFilter:
    """Rows to take: those with this value in this column."""

    column: str
    value: str


# One chunk alone in its step, as (num_tokens, num_computed_tokens), and the stage's time in ms.
Sample = tuple[list[tuple[int, int]], float]

_COLUMNS = "num_tokens, num_computed_tokens, stage0_ms and, if there are more stages, stage1_ms ..."


def read_points(path: Path, where: Sequence[RowFilter]) -> list[list[Sample]]:
    """Reads the samples of each stage.

    Args:
        path: CSV with the columns num_tokens, num_computed_tokens, stage0_ms, stage1_ms and so
            on; others are passed over.
        where: only rows that all of these take.

    Raises:
        CommandError: the file cannot be read, lacks a column, or holds a wrong value.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            header = list(reader.fieldnames or ())
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise unreadable("--points", path, error) from None
    except (UnicodeDecodeError, csv.Error):
        raise wrong_value("--points", str(path), "a CSV file") from None
    names = (f"stage{stage}_ms" for stage in count())
    stages = list(takewhile(lambda name: name in header, names))
    if not stages or not {"num_tokens", "num_computed_tokens"} <= set(header):
        raise CommandError(f"--points {path} has the columns {header}: needed are {_COLUMNS}.")
    for one in where:
        if one.column not in header:
            raise wrong_value("--where", one.column, f"a column of {path}: {', '.join(header)}")
    chosen = [
        (number, row) for number, row in rows if all(row[one.column] == one.value for one in where)
    ]
    if not chosen:
        which = "that --where takes" if where else "of a measured chunk"
        raise CommandError(f"--points {path} has no row {which}: allowed is one or more.")
    samples: list[list[Sample]] = [[] for _ in stages]
    for number, row in chosen:
        place = f"--points {path} line {number}"
        chunk = (
            _tokens(f"{place}: num_tokens", row["num_tokens"], minimum=1),
            _tokens(f"{place}: num_computed_tokens", row["num_computed_tokens"], minimum=0),
        )
        for stage, name in enumerate(stages):
            samples[stage].append(([chunk], _positive_ms(f"{place}: {name}", row[name])))
    return samples


def _number(place: str, text: str | None) -> float:
    """What is in a cell; not a number for what is none."""
    # The line ended before it.
    if text is None:
        raise CommandError(f"{place} is missing: needed are {_COLUMNS}.")
    try:
        return float(text)
    except ValueError:
        return math.nan


def _tokens(place: str, text: str | None, minimum: int) -> int:
    # Spreadsheets write whole numbers with a point.
    number = _number(place, text)
    if not number.is_integer() or number < minimum:
        raise wrong_value(place, text, f"a whole number of tokens from {minimum}")
    return int(number)


def _positive_ms(place: str, text: str | None) -> float:
    number = _number(place, text)
    if not (math.isfinite(number) and number > 0):
        raise wrong_value(place, text, "a finite number of milliseconds above 0")
    return number
