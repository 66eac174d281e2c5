"""The events that the engine writes to CPP_CHUNK_TRACE_FILE, read into named fields."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from cpp_chunk import LatencyModel

if TYPE_CHECKING:
    from collections.abc import Iterable

Event = TypeVar("Event")


@dataclass(frozen=True)
class ProfilePass:
    """One forward pass of the start-up profile."""

    num_tokens: int
    num_computed_tokens: int
    stage_ms: tuple[float, ...]


@dataclass(frozen=True)
class Start:
    """Where the profile came from, and what it cost."""

    source: str
    num_passes: int
    seconds: float


@dataclass(frozen=True)
class ModelFit:
    """The stages' models that came into force, after the profile or after a calibration.

    The errors are those of the stage whose fit is worst.
    """

    source: str
    stages: tuple[LatencyModel, ...]
    gap_ms: float
    num_points: int
    mean_relative_error: float
    p95_relative_error: float
    condition_number: float


@dataclass(frozen=True)
class Chunk:
    """The part of one request that a step computes."""

    request_id: str
    num_tokens: int
    num_computed_tokens: int


@dataclass(frozen=True)
class StageTime:
    """What one stage did for a step: when it began to compute (time.monotonic) and for how long."""

    start_s: float
    compute_ms: float

    @property
    def end_s(self) -> float:
        """When it had computed."""
        return self.start_s + self.compute_ms / 1e3


@dataclass(frozen=True)
class Step:
    """One batch of chunks sent down the pipeline. Predictions are None while there is no model."""

    step: int
    chunks: tuple[Chunk, ...]
    target_ms: float | None
    predicted_ms: float | None
    stages: tuple[StageTime, ...]

    @property
    def num_tokens(self) -> int:
        """New tokens of the step."""
        return sum(chunk.num_tokens for chunk in self.chunks)

    @property
    def measured_ms(self) -> float:
        """Compute of the slowest stage: the one that sets the pipeline's pace."""
        return max(stage.compute_ms for stage in self.stages)


@dataclass(frozen=True)
class Trace:
    """All events, by kind, in the order in which they were written."""

    start: Start | None = None
    profile_passes: tuple[ProfilePass, ...] = ()
    models: tuple[ModelFit, ...] = ()
    steps: tuple[Step, ...] = ()
    fallback_reasons: tuple[str, ...] = ()

    @property
    def last_model(self) -> ModelFit | None:
        """The model in force at the end."""
        return self.models[-1] if self.models else None


def read_trace(lines: Iterable[str]) -> Trace:
    """Read trace lines. Kinds of event that are not known here are passed over."""
    start: Start | None = None
    passes: list[ProfilePass] = []
    models: list[ModelFit] = []
    steps: list[Step] = []
    fallback_reasons: list[str] = []
    for line in lines:
        event: dict[str, Any] = json.loads(line)
        match event.pop("event"):
            case "profile":
                start = _known_fields(Start, event)
            case "profile_pass":
                event["stage_ms"] = tuple(event["stage_ms"])
                passes.append(_known_fields(ProfilePass, event))
            case "model":
                event["stages"] = tuple(LatencyModel(**stage) for stage in event["stages"])
                models.append(_known_fields(ModelFit, event))
            case "step":
                event["chunks"] = tuple(Chunk(*chunk) for chunk in event["chunks"])
                event["stages"] = tuple(_known_fields(StageTime, s) for s in event["stages"] if s)
                # A step whose times were lost says nothing about time.
                if event["stages"]:
                    steps.append(_known_fields(Step, event))
            case "fallback":
                fallback_reasons.append(event["reason"])
    return Trace(start, tuple(passes), tuple(models), tuple(steps), tuple(fallback_reasons))


def _known_fields(kind: type[Event], values: dict[str, Any]) -> Event:
    """Build a dataclass, passing over fields that a newer engine may have added."""
    names: Iterable[str] = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return kind(**{name: values[name] for name in names if name in values})
