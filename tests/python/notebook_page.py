"""Runs the cells of a page in order and compares, or writes, what they print.

A cell is a block of `python`, or one of `sh` that calls `cpp-chunk`; what it prints stands in the
block of `text` after it. Of the README, only those of `sh`: others need vLLM.
To write the outputs of pages anew:
python tests/python/notebook_page.py docs/simulate.md README.md
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from cpp_chunk.cli.app import main

_CELL = re.compile(
    r"```(?P<kind>python|sh)\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```\n)?", re.DOTALL
)


@dataclass(frozen=True)
class Cell:
    """One cell, as the page has it and as it runs."""

    code: str
    shown: str
    printed: str


def run_cells(page: str, kinds: tuple[str, ...] = ("python", "sh")) -> list[Cell]:
    """The cells of these kinds, each after those before it; what they write is thrown away."""
    names: dict[str, Any] = {"__name__": "__page__"}
    variables: dict[str, str] = {}
    cells = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for match in _CELL.finditer(page):
            if match["kind"] not in kinds:
                continue
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                if match["kind"] == "sh":
                    _run_commands(match["code"], variables)
                else:
                    exec(compile(match["code"], "<page>", "exec"), names)  # noqa: S102
            # Tables are padded; nobody pads a page.
            printed = "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())
            cells.append(Cell(match["code"], match["output"] or "", printed))
    return cells


def _run_commands(code: str, variables: dict[str, str]) -> None:
    """A variable a line, or a call of `cpp-chunk`; other commands are for people."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(Template(line).safe_substitute(variables))
        name, separator, value = words[0].partition("=") if words else ("", "", "")
        if separator:
            variables[name] = value
        elif name == "cpp-chunk":
            assert main(words[1:]) == 0


def with_outputs(page: str, kinds: tuple[str, ...] = ("python", "sh")) -> str:
    """The page with what its cells print now."""
    cells = iter(run_cells(page, kinds))

    def block(match: re.Match[str]) -> str:
        if match["kind"] not in kinds:
            return match[0]
        output = next(cells).printed
        code = f"```{match['kind']}\n{match['code']}```\n"
        return code + (f"\n```text\n{output}```\n" if output else "")

    return _CELL.sub(block, page)


def kinds_of(name: str) -> tuple[str, ...]:
    """Which cells of a page can be run."""
    return ("sh",) if Path(name).name == "README.md" else ("python", "sh")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        text = with_outputs(path.read_text(encoding="utf-8"), kinds_of(name))
        path.write_text(text, encoding="utf-8")
