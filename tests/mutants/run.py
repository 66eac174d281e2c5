"""`make mutants`: how many small mistakes in the planning core the C++ tests see.

Each mutant is one mistake in one source. It counts where it compiles to something else than the
original; it is killed where a test fails or ends in time no more.
"""

from __future__ import annotations

import argparse
import math
import random
import resource
import subprocess
import sys
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cpp_chunk.cli.shared.console import progress, result_console
from rich.markup import escape
from rich.table import Table

from tests.mutants.build import REPOSITORY, MutantBuild
from tests.mutants.mutations import Mutation, mutations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

FILES = (
    "planner",
    "work_ledger",
    "busy_period",
    "target",
    "step_range",
    "trials",
    "equal_step_trials",
    "fixed_size_trials",
    "chunk_solver",
    "chunk_limits",
    "chunk_grid",
    "equal_share",
    "calibrator",
    "drift",
    "prior_fit",
    "robust",
)
FOLDER = REPOSITORY / "build" / "mutants"
EXPLAINED = Path(__file__).with_name("explained.toml")
# Mutants that loop would else be waited for; one that takes so much longer is a mistake too.
MOST_TIMES_AS_LONG = 10.0
LEAST_TIMEOUT_S = 10.0
# A mutant may ask for all the memory there is. No compiler needs as much.
MOST_MEMORY_BYTES = 4 << 30


class Fate(Enum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    NO_MUTANT = "does not build, or builds the same"
    NOT_TRIED = "out of time"


@dataclass(frozen=True)
class Mutant:
    """A mistake in a source."""

    name: str  # of the source, without its ending
    mutation: Mutation

    def __str__(self) -> str:
        return f"{self.name}.cpp:{self.mutation.line}: {self.mutation.words}"


class Trial:
    """Mutants of one build, two or more at a time."""

    def __init__(self, build: MutantBuild) -> None:
        self._build = build
        self._deadline_s = math.inf
        self._objects: dict[str, bytes] = {}
        self._timeout_s = LEAST_TIMEOUT_S

    def source(self, name: str) -> Path:
        return self._build.sources / "csrc" / "cpp_chunk" / f"{name}.cpp"

    def prepare(self, names: Sequence[str], seconds: float) -> None:
        """The originals: their objects, and how long their tests take. The time runs from its end.

        Raises:
            RuntimeError: their tests fail
        """
        with TemporaryDirectory(dir=FOLDER) as folder:
            for name in names:
                made = self._object(name, self.source(name).read_bytes(), Path(folder))
                if made is None:
                    raise RuntimeError(f"{name}.cpp does not compile as it is")
                self._objects[name] = made.read_bytes()
                begun_s = time.monotonic()
                if not self._passes(made, Path(folder), timeout_s=600.0):
                    raise RuntimeError("The C++ tests fail without any mutant.")
                took_s = time.monotonic() - begun_s
                self._timeout_s = max(self._timeout_s, MOST_TIMES_AS_LONG * took_s)
        self._deadline_s = time.monotonic() + seconds

    def fate(self, mutant: Mutant) -> Fate:
        """Compiles, links and tests a mutant."""
        if time.monotonic() > self._deadline_s:
            return Fate.NOT_TRIED
        with TemporaryDirectory(dir=FOLDER) as folder:
            text = mutant.mutation.apply(self.source(mutant.name).read_bytes())
            made = self._object(mutant.name, text, Path(folder))
            if made is None or made.read_bytes() == self._objects[mutant.name]:
                return Fate.NO_MUTANT
            passes = self._passes(made, Path(folder), self._timeout_s)
            return Fate.SURVIVED if passes else Fate.KILLED

    def _object(self, name: str, text: bytes, folder: Path) -> Path | None:
        mutated, output = folder / f"{name}.cpp", folder / f"{name}.o"
        mutated.write_bytes(text)
        return output if self._build.compile(self.source(name), mutated, output) else None

    def _passes(self, changed: Path, folder: Path, timeout_s: float) -> bool:
        binary = folder / "tests"
        if not self._build.link(changed, binary):
            raise RuntimeError("The tests do not link with a changed object.")
        try:
            done = subprocess.run(
                [binary, "--gtest_fail_fast", "--gtest_brief=1"],
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0


def main() -> int:
    """Makes mutants and tries them.

    Returns:
        The exit status: 0 where every survivor is explained.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.run", description=__doc__)
    parser.add_argument("files", nargs="*", default=FILES, metavar="FILE", help=", ".join(FILES))
    parser.add_argument("--seconds", type=float, default=1500.0, help="no mutant begins after")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    parser.add_argument("--seed", type=int, default=1, help="of the order in which they are tried")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    console = result_console()
    build = MutantBuild(FOLDER)
    build.make()
    trial = Trial(build)
    trial.prepare(arguments.files, arguments.seconds)
    mutants = [
        Mutant(name, mutation)
        for name in arguments.files
        for mutation in mutations(trial.source(name).read_bytes())
    ]
    # So that whatever there is time for is of all files and kinds.
    random.Random(arguments.seed).shuffle(mutants)
    fates: dict[Mutant, Fate] = {}
    with ThreadPoolExecutor(arguments.jobs) as pool, progress(len(mutants)) as begin:
        for mutant, fate in zip(mutants, pool.map(trial.fate, mutants), strict=True):
            begin(str(mutant)[:60])
            fates[mutant] = fate
            if fate is Fate.SURVIVED:
                print(f"survived: {mutant}", file=sys.stderr, flush=True)
    return report(console, fates)


def report(console: Console, fates: dict[Mutant, Fate]) -> int:
    """The tables; returns the exit status."""
    reasons = explanations()
    table = Table("file", "mutants", "killed", "survived", "of these explained", "not tried")
    survivors = sorted(
        (one for one, fate in fates.items() if fate is Fate.SURVIVED),
        key=lambda one: (one.name, one.mutation.start),
    )
    for name in dict.fromkeys(sorted(one.name for one in fates)):
        counts = Counter(fate for one, fate in fates.items() if one.name == name)
        explained = sum(one.name == name and key(one) in reasons for one in survivors)
        tried = counts[Fate.KILLED] + counts[Fate.SURVIVED]
        numbers = (tried, counts[Fate.KILLED], counts[Fate.SURVIVED])
        table.add_row(f"{name}.cpp", *map(str, (*numbers, explained, counts[Fate.NOT_TRIED])))
    console.print(table)
    for one in survivors:
        console.print(escape(f"{one}\n    {reasons.get(key(one), 'not explained')}"))
    return 0 if all(key(one) in reasons for one in survivors) else 1


def key(mutant: Mutant) -> tuple[str, str]:
    return mutant.name, mutant.mutation.words


def explanations() -> dict[tuple[str, str], str]:
    """Why a survivor is no gap in the tests: by source and by what was changed there."""
    entries = tomllib.loads(EXPLAINED.read_text(encoding="utf-8"))
    return {
        (name, change): reason
        for name, changes in entries.items()
        for change, reason in changes.items()
    }


if __name__ == "__main__":
    sys.exit(main())
