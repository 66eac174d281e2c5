"""What `cpp-chunk doctor` found, in sections, and whether dynamic chunks would run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        state: a problem keeps dynamic chunks from running; a note does not.
        text: what was found.
        remedy: what to do about it.
    """

    state: State
    text: str
    remedy: str | None = None


@dataclass
class Section:
    """Findings about one thing."""

    name: str
    findings: list[Finding] = field(default_factory=list)

    def ok(self, text: str) -> None:
        """Adds what is as it should be."""
        self.findings.append(Finding("ok", text))

    def note(self, text: str, remedy: str | None = None) -> None:
        """Adds what is worth knowing."""
        self.findings.append(Finding("note", text, remedy))

    def problem(self, text: str, remedy: str) -> None:
        """Adds what keeps dynamic chunks from running."""
        self.findings.append(Finding("problem", text, remedy))


@dataclass(frozen=True)
class DoctorReport:
    """All sections, in the order in which they depend on each other."""

    sections: list[Section]

    @property
    def num_problems(self) -> int:
        """How many things keep dynamic chunks from running."""
        return sum(one.state == "problem" for part in self.sections for one in part.findings)

    @property
    def is_well(self) -> bool:
        """Whether dynamic chunks would run."""
        return self.num_problems == 0

    def to_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "dynamic_chunks": self.is_well,
            "sections": [asdict(section) for section in self.sections],
        }
