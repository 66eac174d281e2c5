"""Engines of one deployment, one after the other: what each finds of a remembered profile.

Arguments: the model, and a folder outside the cache. Prints one JSON object, a key a start.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpp_chunk.engine.profile import passes
from cpp_chunk.records.cache_dir import cache_dir
from cpp_chunk.records.profile_file import PipelineProfile, profile_bytes, read_profile

from benchmarks.engine_faults.small_engine import SmallEngine

if TYPE_CHECKING:
    from collections.abc import Callable

# This is no timed test: a busy machine may make probes slow, but not by that much.
PROBE_ERROR = 10.0
TOO_FAST = 1e-3


class Warnings(logging.Handler):
    """Ours, from the front end and the engine core."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if "[cpp_chunk]" in line:
            self.lines.append(line)


def leave(path: Path, elsewhere: Path) -> None:
    """As the start before left it."""


def of_another_key(path: Path, elsewhere: Path) -> None:
    change(path, lambda profile: {"deployment": {**profile["deployment"], "block_size": 7}})


def link(path: Path, elsewhere: Path) -> None:
    path.rename(elsewhere / path.name)
    path.symlink_to(elsewhere / path.name)


def of_a_faster_machine(path: Path, elsewhere: Path) -> None:
    def faster(profile: dict[str, Any]) -> dict[str, Any]:
        passes = [
            {**one, "stage_ms": [TOO_FAST * stage_ms for stage_ms in one["stage_ms"]]}
            for one in profile["passes"]
        ]
        return {"passes": passes}

    change(path, faster)


def change(path: Path, changes: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    profile = json.loads(path.read_text())
    changed = PipelineProfile.model_validate({**profile, **changes(profile)})
    path.write_bytes(profile_bytes(changed))


# What happens to the file before a start.
STARTS: dict[str, Callable[[Path, Path], None]] = {
    "another key": of_another_key,
    "link": link,
    "faster": of_a_faster_machine,
    "again": leave,
}


def start(model: str) -> dict[str, Any]:
    warnings = Warnings()
    logging.getLogger("vllm").addHandler(warnings)
    engine = SmallEngine(model, load_format="dummy")
    logging.getLogger("vllm").removeHandler(warnings)
    feedback = engine.scheduler._cpp_chunk_feedback
    status = feedback._report.status
    facts = {
        "source": status.profile,
        "num_passes": status.profile_passes,
        "target_ms": engine.target_ms,
        "models": [repr(model) for model in feedback._models],
        "warnings": warnings.lines,
    }
    engine.shut_down()
    return facts


def main(model: str, elsewhere: Path) -> None:
    passes._MAX_PROBE_ERROR = PROBE_ERROR  # type: ignore[misc]
    facts = {"first": start(model)}
    [path] = (cache_dir() / "profiles").iterdir()
    for name, spoil in STARTS.items():
        spoil(path, elsewhere)
        before = path.read_bytes()
        outside = {file.name: file.read_bytes() for file in elsewhere.iterdir()}
        facts[name] = start(model)
        facts[name] |= {
            "is_kept": path.read_bytes() == before,
            "is_regular": not path.is_symlink(),
            "passes_in_file": len(read_profile(path).passes),
            "is_outside_as_before": outside
            == {file.name: file.read_bytes() for file in elsewhere.iterdir()},
            "files": sorted(file.name for file in path.parent.iterdir()),
        }
    print(json.dumps(facts))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
