"""One vllm-ascend release, over the vLLM that it is for, as a row of the compatibility page."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from cpp_chunk.compat.relied_on import SCHEDULERS, ledger
from cpp_chunk.compat.source_check import check_ledger, check_scheduler
from cpp_chunk.settings.ascend import IN_TREE_SCHEDULER

from tests.releases.traits import LOADS_NOTE, asks_for_loads
from tests.releases.vllm_rows import Row, seam_problems_cell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cpp_chunk.compat.sources import Sources

    from tests.releases.footnotes import Footnotes

# Those with a wheel, and the vLLM that each is for.
ASCEND_RELEASES = {
    "0.23.0": "0.23.0",
    "0.24.0rc1": "0.24.0",
    "0.25.1rc1": "0.25.1",
    "0.26.0rc1": "0.26.0",
}
ASCEND_HEADINGS = (
    "vllm-ascend",
    "with vLLM",
    "platform seam",
    "scheduler classes",
    "worker seam",
    "verdict",
)
_PACKAGE = "vllm_ascend"
_IN_TREE_NOTE = (
    "vllm-ascend's own version of this feature, under the same key: the key is taken over before "
    "it is chosen (`ascend.py`)."
)


def ascend_row(version: str, folder: Path, sources: Sources, notes: Footnotes) -> Row:
    """Holds a release against the ledger, and every scheduler class that it brings.

    Args:
        version: of vllm-ascend.
        folder: its unpacked wheel.
        sources: the same, with vLLM's own behind it.
        notes: of the page.
    """
    problems = check_ledger(sources, ledger("ascend"))
    cells = (
        version,
        ASCEND_RELEASES[version],
        seam_problems_cell(problems, "platform", notes),
        _classes_cell(folder, sources, notes),
        seam_problems_cell(problems, "worker", notes),
        f"**fails**: {', '.join(problems)}" if problems else "shape known",
    )
    return Row(cells, is_well=not problems)


def scheduler_classes(folder: Path, sources: Sources) -> Iterator[tuple[str, str]]:
    """Module and name of every class of vllm-ascend that derives from vLLM's scheduler."""
    schedulers = set(SCHEDULERS)
    for file in sorted((folder / _PACKAGE).rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if "Scheduler)" not in text and "Scheduler," not in text:
            continue
        module = ".".join(file.relative_to(folder).with_suffix("").parts)
        for node in ast.parse(text).body:
            found = sources.find(module, node.name) if isinstance(node, ast.ClassDef) else None
            if found and any((one.module, one.name) in schedulers for one in sources.bases(found)):
                yield module, found.name


def _classes_cell(folder: Path, sources: Sources, notes: Footnotes) -> str:
    known, refused = [], []
    for module, name in scheduler_classes(folder, sources):
        problem = check_scheduler(sources, module, name)
        if name == IN_TREE_SCHEDULER:
            refused.append(f"{name} {notes.mark(_IN_TREE_NOTE)}")
        elif problem is not None:
            refused.append(f"{name} {notes.mark(_refusal(problem))}")
        elif _asks_for_loads(sources, module, name):
            known.append(f"{name} {notes.mark(LOADS_NOTE)}")
        else:
            known.append(name)
    parts = (("known", known), ("refused", refused))
    return "; ".join(f"{word}: {', '.join(names)}" for word, names in parts if names)


def _asks_for_loads(sources: Sources, module: str, name: str) -> bool:
    cls = sources.find(module, name)
    schedule = sources.method(cls, "schedule") if cls is not None else None
    return schedule is not None and asks_for_loads(schedule)


def _refusal(problem: str) -> str:
    return f"Refused by name at the start, where it is chosen: {problem}"
