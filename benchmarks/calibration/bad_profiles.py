"""Files in the place of a remembered profile that must not be believed, and what is done with them.

Each is put where an engine would look; the store's answer, its warnings and the file system are
what counts.
"""

from __future__ import annotations

import json
import logging
import shutil
from typing import TYPE_CHECKING

from cpp_chunk import LatencyModel
from cpp_chunk.records.profile_file import PipelineProfile, ProfiledPass, profile_bytes
from cpp_chunk.records.profile_store import ProfileStore
from cpp_chunk.settings.deployment import Deployment

from benchmarks.calibration.figures import calibration_row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.shared.figures import Figure

DEPLOYMENT = Deployment(
    model="model",
    model_config_sha256="0" * 64,
    pipeline_parallel_size=2,
    execution="eager",
    device_name="device",
    cpp_chunk_version="0",
)
GIGABYTE = 1 << 30


def bad_profile_figure(folder: Path) -> Figure:
    """How many of the bad files were believed, changed, or warned of other than once."""
    cases = {name: is_ignored(folder / name, spoil) for name, spoil in SPOILERS.items()}
    return calibration_row(
        "bad profile files that are not ignored with one warning and left as they are",
        sum(not ignored for ignored in cases.values()),
        0,
        {name: not ignored for name, ignored in cases.items()},
    )


def is_ignored(folder: Path, spoil: Callable[[Path, bytes], None]) -> bool:
    """Puts one bad file into a fresh store and asks for the profile."""
    shutil.rmtree(folder, ignore_errors=True)
    store = ProfileStore(folder / "profiles")
    profile = good_profile(DEPLOYMENT)
    store.save(profile)
    assert store.load(DEPLOYMENT) == profile  # noqa: S101
    path = store.path(DEPLOYMENT)
    spoil(path, profile_bytes(profile))
    before = states(folder)
    warnings = _Warnings()
    logger = logging.getLogger("vllm.cpp_chunk.records.profile_store")
    logger.addHandler(warnings)
    try:
        is_believed = store.load(DEPLOYMENT) is not None
    finally:
        logger.removeHandler(warnings)
    return not is_believed and warnings.count == 1 and states(folder) == before


def good_profile(deployment: Deployment) -> PipelineProfile:
    """A profile that would be believed."""
    model = LatencyModel(quadratic=1e-4, cross=1e-4, linear=0.05, context=0.0, constant=5.0)
    chunks = [(x, h) for x in (128, 512, 1024, 2048) for h in (0, 4096, 8192)]
    return PipelineProfile.of([model, model]).model_copy(
        update={
            "deployment": deployment,
            "passes": [
                ProfiledPass(
                    num_tokens=x, num_computed_tokens=h, stage_ms=[model.step_ms([(x, h)])] * 2
                )
                for x, h in chunks
            ],
        }
    )


def states(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Mode, size and time of change of all that is there, links not followed."""
    return {
        str(path): (found.st_mode, found.st_size, found.st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        for found in [path.lstat()]
    }


def truncate(path: Path, content: bytes) -> None:
    """Cut off in the middle."""
    path.write_bytes(content[: len(content) // 2])


def other_schema(path: Path, content: bytes) -> None:
    """Of a version to come."""
    path.write_text(json.dumps(json.loads(content) | {"version": 2}))


def other_key(path: Path, content: bytes) -> None:  # noqa: ARG001
    """A good profile of another deployment, under this one's name."""
    other = DEPLOYMENT.model_copy(update={"device_name": "another"})
    path.write_bytes(profile_bytes(good_profile(other)))


def world_writable(path: Path, content: bytes) -> None:  # noqa: ARG001
    """Anybody may have written it."""
    path.chmod(0o666)


def symbolic_link(path: Path, content: bytes) -> None:
    """A link to a file elsewhere that would be believed."""
    elsewhere = path.parent.parent / "elsewhere.json"
    elsewhere.write_bytes(content)
    elsewhere.chmod(0o600)
    path.unlink()
    path.symlink_to(elsewhere)


def gigabyte_of_zeros(path: Path, content: bytes) -> None:  # noqa: ARG001
    """More than anybody wants to read."""
    with path.open("wb") as file:
        file.truncate(GIGABYTE)


SPOILERS: dict[str, Callable[[Path, bytes], None]] = {
    "truncated": truncate,
    "of another schema": other_schema,
    "of another key": other_key,
    "world-writable": world_writable,
    "a symbolic link elsewhere": symbolic_link,
    "1 GB of zeros": gigabyte_of_zeros,
}


class _Warnings(logging.Handler):
    """Counts warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
