"""The requests of a simulation: from a file, or made up from a seed."""

from __future__ import annotations

import csv
import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cpp_chunk._core import SimulatedRequest
from cpp_chunk.cli.shared.errors import CommandError, unreadable, wrong_value
from cpp_chunk.cli.shared.values import MAX_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cpp_chunk.cli.shared.distributions import Lengths


class WorkloadRow(BaseModel):
    """One request of a workload file.

    No other fields: one that is misspelt would be taken as not given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt_tokens: int = Field(
        ge=1, le=MAX_TOKENS, description=f"a whole number from 1 to {MAX_TOKENS}"
    )
    arrival_ms: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="a finite number of milliseconds of at least 0",
    )
    output_tokens: int = Field(
        default=1, ge=1, le=MAX_TOKENS, description=f"a whole number from 1 to {MAX_TOKENS}"
    )
    cached_tokens: int = Field(
        default=0, ge=0, description="a whole number from 0, below prompt_tokens"
    )


@dataclass(frozen=True)
class SyntheticWorkload:
    """Requests to make up.

    Args:
        num_requests: how many.
        prompt_tokens: their lengths.
        output_tokens: tokens to generate.
        request_rate_per_s: arrivals of a Poisson process; None: all are there at the start.
        prefix_hit_rate: share of each prompt that the prefix cache holds, in whole blocks.
        block_tokens: tokens of such a block.
        seed: of everything that is drawn.
    """

    num_requests: int
    prompt_tokens: Lengths
    output_tokens: Lengths
    request_rate_per_s: float | None
    prefix_hit_rate: float
    block_tokens: int
    seed: int

    def requests(self) -> list[SimulatedRequest]:
        """The requests, first come first."""
        generator = random.Random(self.seed)  # noqa: S311
        requests = []
        arrival_ms = 0.0
        for _ in range(self.num_requests):
            prompt_tokens = self.prompt_tokens.draw(generator)
            # The last token is always computed: the first output comes from it.
            hit_tokens = min(int(self.prefix_hit_rate * prompt_tokens), prompt_tokens - 1)
            requests.append(
                SimulatedRequest(
                    prompt_tokens,
                    arrival_ms=arrival_ms,
                    output_tokens=self.output_tokens.draw(generator),
                    cached_tokens=hit_tokens - hit_tokens % self.block_tokens,
                )
            )
            if self.request_rate_per_s is not None:
                arrival_ms += 1e3 * generator.expovariate(self.request_rate_per_s)
        return requests


def read_workload(path: Path) -> list[SimulatedRequest]:
    """Reads JSON lines or CSV with a row a request.

    Args:
        path: prompt_tokens and, if wanted, arrival_ms, output_tokens, cached_tokens.

    Raises:
        CommandError: the file cannot be read, or a row is wrong.
    """
    try:
        rows = list(_rows(path))
    except OSError as error:
        raise unreadable("--workload", path, error) from None
    except (UnicodeDecodeError, csv.Error):
        raise wrong_value("--workload", str(path), "JSON lines or CSV") from None
    if not rows:
        raise CommandError(f"--workload {path} is empty: allowed is one request or more.")
    return [_request(f"--workload {path} line {number}", row) for number, row in rows]


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(newline="", encoding="utf-8") as file:
        is_json = file.read(4096).lstrip().startswith(("{", "["))
        file.seek(0)
        if not is_json:
            reader = csv.DictReader(file)
            for name in reader.fieldnames or ():
                if name not in WorkloadRow.model_fields:
                    raise _unknown_field(f"--workload {path} line {reader.line_num}", name)
            for row in reader:
                if None in row:
                    raise CommandError(
                        f"--workload {path} line {reader.line_num} has more cells than the first "
                        "line: allowed are as many."
                    )
                # An empty cell is one that is not given.
                yield reader.line_num, {key: value for key, value in row.items() if value}
            return
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            values = _json_object(line)
            if values is None:
                raise CommandError(
                    f"--workload {path} line {number} is no JSON object: allowed is one with "
                    f"{', '.join(WorkloadRow.model_fields)}."
                )
            yield number, values


def _json_object(line: str) -> dict[str, Any] | None:
    try:
        values = json.loads(line)
    except json.JSONDecodeError:
        return None
    return values if isinstance(values, dict) else None


def _unknown_field(place: str, name: str) -> CommandError:
    return CommandError(
        f"{place}: {name!r} is no known field: allowed are {', '.join(WorkloadRow.model_fields)}."
    )


def _request(place: str, values: dict[str, Any]) -> SimulatedRequest:
    try:
        row = WorkloadRow.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            raise _unknown_field(place, name) from None
        if first["type"] == "missing":
            raise CommandError(
                f"{place}: {name} is missing. Known are {', '.join(WorkloadRow.model_fields)}."
            ) from None
        allowed = WorkloadRow.model_fields[name].description or ""
        raise wrong_value(f"{place}: {name}", first["input"], allowed) from None
    if row.cached_tokens >= row.prompt_tokens:
        raise wrong_value(
            f"{place}: cached_tokens",
            row.cached_tokens,
            f"less than prompt_tokens, {row.prompt_tokens}",
        )
    return SimulatedRequest(
        row.prompt_tokens,
        arrival_ms=row.arrival_ms,
        output_tokens=row.output_tokens,
        cached_tokens=row.cached_tokens,
    )
