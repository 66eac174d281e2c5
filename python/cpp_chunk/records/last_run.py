"""What the last engine of this user reported, kept after it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cpp_chunk.records.cache_dir import cache_dir
from cpp_chunk.records.private_file import read_private, write_private
from cpp_chunk.records.utc_time import UtcTime  # noqa: TC001

if TYPE_CHECKING:
    from pathlib import Path

_MAX_BYTES: Final = 1 << 16

Count = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class LastRun(BaseModel):
    """An engine's figures since its start.

    Attributes:
        at: when they were written.
        model: as it was given to vLLM.
        deployment: the digest of the deployment; None where it was not known.
        vllm_version: of the engine.
        cpp_chunk_version: of the engine.
        chunks: "dynamic", or "fixed".
        reason: why they are fixed.
        target_ms: step time that chunks aim at.
        median_error: of `|predicted / measured - 1|` over recent steps.
        measured_steps: steps whose time came in from every stage.
        refits: of the latency model.
        fallbacks: how often what failed.
        profile: where the models at the start came from; None where there was no profile.
        profile_passes: real passes that the start took, probes included.
        profile_s: seconds that they took.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    at: UtcTime
    model: str
    deployment: str | None = None
    vllm_version: str | None = None
    cpp_chunk_version: str
    chunks: Literal["dynamic", "fixed"]
    reason: str | None = None
    target_ms: NonNegative | None = None
    median_error: NonNegative | None = None
    measured_steps: Count = 0
    refits: Count = 0
    fallbacks: dict[str, Count] = {}
    profile: Literal["measured", "remembered"] | None = None
    profile_passes: Count = 0
    profile_s: NonNegative = 0.0


def last_run_file() -> Path:
    """Where it is kept."""
    # A folder that we make: the cache may be a volume's own, which often is open to everybody.
    return cache_dir() / "reports" / "last_run.json"


def write_last_run(run: LastRun) -> None:
    """Replaces the last report.

    Raises:
        OSError: it cannot be written.
    """
    write_private(last_run_file(), run.model_dump_json(indent=1).encode())


def read_last_run() -> LastRun | None:
    """The last report; None where there is none that can be read."""
    try:
        return LastRun.model_validate_json(read_private(last_run_file(), _MAX_BYTES))
    except (OSError, ValidationError):
        return None
