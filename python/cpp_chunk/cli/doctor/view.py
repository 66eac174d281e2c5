"""The doctor's report in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.markup import escape

if TYPE_CHECKING:
    from rich.console import Console

    from cpp_chunk.cli.doctor.findings import DoctorReport, State

_MARKS: Final[dict[State, str]] = {
    "ok": "[green]OK     [/]",
    "note": "[dim]note   [/]",
    "problem": "[bold red]PROBLEM[/]",
}


def print_report(console: Console, report: DoctorReport, *, with_arguments: bool) -> None:
    """Section by section, a line for each finding; what to do stands under it."""
    for section in report.sections:
        console.print(f"[bold]{section.name}[/]")
        for finding in section.findings:
            console.print(f"  {_MARKS[finding.state]}  {escape(finding.text)}", soft_wrap=True)
            if finding.remedy is not None:
                console.print(f"           -> {escape(finding.remedy)}", soft_wrap=True)
    console.print()
    if not report.is_well:
        noun = "problem" if report.num_problems == 1 else "problems"
        console.print(f"Dynamic chunks would not run: {report.num_problems} {noun}.")
    elif with_arguments:
        console.print("Dynamic chunks would run.")
    else:
        console.print("Dynamic chunks would run, with the right settings.")
