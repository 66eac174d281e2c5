"""What a pipeline's stages cost, as a file: written once, planned and simulated from anywhere.

Two kinds of file are read: our own JSON profile, and the trace that a serving engine wrote to
`CPP_CHUNK_TRACE_FILE`, of which the last model counts. A profile that the engine remembers is such
a JSON profile, and says what it was taken of and which passes it was fitted to.
"""

from __future__ import annotations

import json
import reprlib
import statistics
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cpp_chunk._core import LatencyModel
from cpp_chunk.records.utc_time import UTC_TIME_ALLOWED, UtcTime
from cpp_chunk.settings.deployment import Deployment

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT: Final = "cpp_chunk profile"
VERSION: Final = 1

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ProfileError(ValueError):
    """A file that is no profile. The message names the place, what is there, what is allowed."""


class StageCoefficients(BaseModel):
    """One stage's latency model: ms for what each coefficient multiplies."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    quadratic: NonNegative = Field(description="a finite number of at least 0")
    cross: NonNegative = Field(description="a finite number of at least 0")
    linear: NonNegative = Field(description="a finite number of at least 0")
    context: NonNegative = Field(description="a finite number of at least 0")
    constant: NonNegative = Field(description="a finite number of at least 0")

    @classmethod
    def of(cls, model: LatencyModel) -> StageCoefficients:
        """The coefficients of a model."""
        return cls(**{name: getattr(model, name) for name in cls.model_fields})

    def to_model(self) -> LatencyModel:
        """The model of these coefficients."""
        return LatencyModel(**self.model_dump())


class ProfiledPass(BaseModel):
    """One measured pass: a chunk, its history, and what it took on each stage."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    num_tokens: int = Field(gt=0, description="a whole number of tokens above 0")
    num_computed_tokens: int = Field(ge=0, description="a whole number of tokens of at least 0")
    stage_ms: list[Positive] = Field(
        min_length=1, description="a list of finite numbers of milliseconds above 0, one a stage"
    )


class PipelineProfile(BaseModel):
    """One latency model a stage, in order, and what a step costs beyond its compute.

    A single stage stands for every stage of a pipeline of equal ones.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    format: Literal["cpp_chunk profile"] = Field(default=FORMAT, description=json.dumps(FORMAT))
    version: Literal[1] = Field(default=VERSION, description=str(VERSION))
    # A list in the file; strict checking takes no list for a tuple.
    stages: list[StageCoefficients] = Field(
        min_length=1, description="a list of objects with the five coefficients, one a stage"
    )
    gap_ms: NonNegative = Field(
        default=0.0, description="a finite number of milliseconds of at least 0"
    )
    deployment: Deployment | None = Field(
        default=None, description="an object that says what was profiled, or null"
    )
    passes: list[ProfiledPass] = Field(default=[], description="a list of measured passes")
    measured_at: UtcTime | None = Field(default=None, description=f"{UTC_TIME_ALLOWED}, or null")
    # What taking the profile cost.
    seconds: NonNegative | None = Field(
        default=None, description="a finite number of seconds of at least 0, or null"
    )

    @classmethod
    def of(cls, stages: Sequence[LatencyModel], gap_ms: float = 0.0) -> PipelineProfile:
        """The profile of these models."""
        return cls(stages=[StageCoefficients.of(model) for model in stages], gap_ms=gap_ms)

    @property
    def mean_relative_error(self) -> float | None:
        """Of the worst stage, on the passes; None where there are none for each stage."""
        if not self.passes or any(len(one.stage_ms) != len(self.stages) for one in self.passes):
            return None
        return max(
            statistics.fmean(
                abs(model.step_ms([(one.num_tokens, one.num_computed_tokens)]) / measured_ms - 1)
                for one in self.passes
                for measured_ms in [one.stage_ms[stage]]
            )
            for stage, model in enumerate(self.to_models())
        )

    def to_json(self) -> dict[str, Any]:
        """What the file holds: of the optional entries, those that are there."""
        values = self.model_dump(exclude_none=True)
        if not self.passes:
            del values["passes"]
        return values

    def to_models(self) -> list[LatencyModel]:
        """One model a stage, without the gap."""
        return [stage.to_model() for stage in self.stages]


def write_profile(path: Path, profile: PipelineProfile) -> None:
    """Writes a profile that `read_profile` reads.

    Raises:
        OSError: the file cannot be written.
    """
    path.write_bytes(profile_bytes(profile))


def profile_bytes(profile: PipelineProfile) -> bytes:
    """What `write_profile` writes."""
    return (json.dumps(profile.to_json(), indent=1) + "\n").encode()


def read_profile(path: Path) -> PipelineProfile:
    """Reads a JSON profile, or the last model of an engine's trace.

    Raises:
        ProfileError: it is neither, or holds a value that is not allowed.
        OSError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ProfileError(f"{path} is not text: {_ALLOWED_FILE}.") from None
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return _validated(path, _last_model(path, text))
    if isinstance(whole, dict) and "event" in whole:
        return _validated(path, _last_model(path, text))
    return _validated(path, whole)


def parse_profile(path: Path, content: bytes) -> PipelineProfile:
    """Reads a JSON profile, and no trace.

    Args:
        path: where the content is from, for the sentence.
        content: the whole file.

    Raises:
        ProfileError: it is none, or holds a value that is not allowed.
    """
    try:
        # Beside what is no JSON: numbers of too many digits, and lists in lists without end.
        values = json.loads(content)
    except (ValueError, RecursionError):
        raise ProfileError(f"{path} is not JSON: {_ALLOWED_FILE}.") from None
    return _validated(path, values)


_ALLOWED_FILE = (
    f'allowed is a JSON object with "format": "{FORMAT}", or a trace file of the engine '
    "with a model in it"
)


def _last_model(path: Path, text: str) -> dict[str, Any]:
    """The last `model` record of a trace, in the shape of a profile."""
    record: dict[str, Any] | None = None
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            # The engine may be writing this very line.
            if number == len(lines) and record is not None:
                break
            raise ProfileError(
                f"{path} is not JSON (line {number} cannot be read): {_ALLOWED_FILE}."
            ) from None
        if not isinstance(event, dict) or "event" not in event:
            raise ProfileError(
                f"{path} holds other JSON lines than a trace (line {number}): {_ALLOWED_FILE}."
            )
        if event["event"] == "model":
            record = event
    if record is None:
        raise ProfileError(f"{path} is a trace without a model: {_ALLOWED_FILE}.")
    return {key: record[key] for key in ("stages", "gap_ms") if key in record}


def _validated(path: Path, values: object) -> PipelineProfile:
    if not isinstance(values, dict):
        raise ProfileError(f"{path} holds a JSON {type(values).__name__}: {_ALLOWED_FILE}.")
    if "format" not in values and "stages" not in values:
        raise ProfileError(f"{path} is not a profile: {_ALLOWED_FILE}.")
    try:
        return PipelineProfile.model_validate(values)
    except ValidationError as error:
        raise ProfileError(f"{path}: {_sentence(error)}") from None


_PARTS: Final[dict[str, type[BaseModel]]] = {
    "stages": StageCoefficients,
    "passes": ProfiledPass,
    "deployment": Deployment,
}


def _sentence(error: ValidationError) -> str:
    """The first thing wrong: where, what is there, what is allowed."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    # Without the places in lists: a part of the profile, and a field of it.
    part, *fields = [name for name in first["loc"] if isinstance(name, str)]
    known: type[BaseModel] = _PARTS[part] if fields else PipelineProfile
    name = fields[0] if fields else part
    if first["type"] == "extra_forbidden":
        return f"{place} is not a known key. Allowed are {', '.join(known.model_fields)}."
    if first["type"] == "missing":
        needed = [name for name, field in known.model_fields.items() if field.is_required()]
        return f"{place} is missing. Needed are {', '.join(needed)}."
    # A wrong file may hold anything, in any amount.
    found = reprlib.repr(first["input"])
    return f"{place} is {found}: allowed is {known.model_fields[name].description}."
