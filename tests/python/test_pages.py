"""Pages with cells: each runs and prints what the page shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from notebook_page import kinds_of, run_cells, with_outputs

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(("name", "num_cells"), [("docs/simulate.md", 12), ("README.md", 2)])
def test_cells_print_what_the_page_shows(name: str, num_cells: int) -> None:
    page = (ROOT / name).read_text(encoding="utf-8")
    cells = run_cells(page, kinds_of(name))
    assert sum(bool(cell.printed) for cell in cells) >= num_cells
    assert [cell.printed for cell in cells] == [cell.shown for cell in cells]
    assert with_outputs(page, kinds_of(name)) == page


def test_the_figures_of_the_readme_are_those_measured() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    said = re.search(
        r"in ([\d.]+) of the time of one fixed chunk, and in ([\d.]+) to ([\d.]+) of that of the "
        r"best fixed size of a sweep",
        readme,
    )
    assert said is not None
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    [one_chunk] = re.findall(r"\| TTFT, dynamic at 16384 / fixed 16384 \| ([\d.]+) \|", page)
    sweep = re.findall(r"\| TTFT, dynamic at \d+ / best fixed of the sweep \| ([\d.]+) \|", page)
    assert said.groups() == (one_chunk, min(sweep, key=float), max(sweep, key=float))


def test_a_wrong_output_is_noticed() -> None:
    page = "```python\nx = 1\n```\n\n```python\nprint(x + 1)\n```\n\n```text\n3\n```\n"
    assert [(cell.shown, cell.printed) for cell in run_cells(page)] == [("", ""), ("3\n", "2\n")]
    assert with_outputs(page) == page.replace("3\n", "2\n")
