"""Runs the command in this process and keeps what it said."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from typing import Any

from cpp_chunk.cli.app import main

# The stage published for Kimi-K2.5 on MI355X, and the engine's gap.
KIMI = (
    "--coefficients",
    "quadratic=6.5e-7,cross=6.5e-7,linear=6.03e-3,context=5.39e-4,constant=26.1",
    "--gap-ms",
    "17.5",
)
# Its last stage a fifth dearer.
KIMI_UNEVEN = (
    *(KIMI[:2] * 3),
    "--coefficients",
    "quadratic=7.8e-7,cross=7.8e-7,linear=7.236e-3,context=6.468e-4,constant=31.32",
    *KIMI[2:],
)


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, all of it, as JSON."""
        assert self.code == 0, self.err
        return json.loads(self.out)


def run(*arguments: object) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


def complaint(*arguments: object) -> str:
    """The one sentence that a wrong input gets."""
    outcome = run(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    sentence = outcome.err.removesuffix("\n")
    assert "\n" not in sentence
    return sentence.removeprefix("cpp-chunk: ")
