"""What scripts with an engine print: facts of theirs, among the lines that vLLM logs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess


def facts(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The last line that is a JSON object."""
    line = next(line for line in reversed(done.stdout.splitlines()) if line.startswith("{"))
    facts: dict[str, Any] = json.loads(line)
    return facts


def warnings(log: str) -> list[str]:
    """Lines of ours, from any process, that a user is to look at."""
    return [
        line for line in log.splitlines() if re.search(r"(WARNING|ERROR) .*\[cpp_chunk\]", line)
    ]
