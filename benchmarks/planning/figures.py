"""`make figures`: what the planner promises, from simulations and timers, without any engine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.planning import lone_prompt, mixed_load, two_work_terms, unequal_stages
from benchmarks.planning import time as planning_time
from benchmarks.shared.figures_table import cases_table, figures_table, write_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.shared.figures import Figure

# By what the progress bar says.
EXACT_PARTS: dict[str, Callable[[], list[Figure]]] = {
    "published fixed sizes": lone_prompt.published_size_figures,
    "the exact optimum": lone_prompt.optimum_figures,
    "the best fixed size": lone_prompt.fixed_size_figures,
    "others' rules": lone_prompt.rule_figures,
    "mixed lengths": mixed_load.mixed_load_figures,
    "unequal stages": unequal_stages.unequal_stage_figures,
    "two work terms": two_work_terms.two_work_term_figures,
}


def timed_parts(build_dir: Path) -> dict[str, Callable[[], list[Figure]]]:
    """What depends on the machine; the first one builds the native programs."""
    return {
        "time of a plan": lambda: [planning_time.plan_time_figure()],
        "time of a decision": lambda: planning_time.decision_time_figures(build_dir),
        "speed of the simulator": lambda: planning_time.simulator_speed_figures(build_dir),
    }


def planning_figures(console: Console, build_dir: Path) -> list[Figure]:
    """All rows, with a progress bar."""
    rows: list[Figure] = []
    parts = EXACT_PARTS | timed_parts(build_dir)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("planning figures", total=len(parts))
        for name, figures in parts.items():
            progress.update(task, description=f"planning figures: {name}")
            rows += figures()
            progress.advance(task)
        progress.update(task, description="planning figures")
    return rows


def main() -> int:
    """Print the rows; returns the exit code: 0 when all hold."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.planning.figures", description=__doc__
    )
    parser.add_argument("--output", type=Path, default=Path("build/bench"), metavar="FOLDER")
    parser.add_argument("--details", action="store_true", help="the values behind each row as well")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)
    rows = planning_figures(console, arguments.output)
    write_rows(arguments.output / "planning.json", rows)
    if arguments.details:
        console.print(cases_table(rows))
    console.print(figures_table(rows, "Planning figures"))
    console.print(f"{arguments.output}/planning.json", highlight=False)
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
