"""The package as a house: its rooms stand on floors, and no import goes up or round in a circle."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import cpp_chunk
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(cpp_chunk.__file__).parent
# From the ground up; a file belongs to the longest name that it begins with. Neighbours on a floor
# do not import from each other.
FLOORS = (
    ("_core", "log"),
    ("attempt", "patching", "settings"),
    ("records", "compat", "worker"),
    ("report", "engine"),
    ("engine.calibration", "engine.profile"),
    ("assembly", "cli"),
    ("plugin",),
)
COMMANDS = ("plan", "simulate", "profile", "calibrate", "doctor")


def module_name(path: Path) -> str:
    """Without the package's own name; that of a folder for its `__init__.py`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imported_names(path: Path) -> Iterator[str]:
    """What a file imports anywhere in it, for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def import_graph() -> dict[str, set[str]]:
    """Each module, and those of the package that it imports, their folders' `__init__.py` too."""
    files = {module_name(path): path for path in PACKAGE.rglob("*.py")}
    graph = {}
    for module, path in files.items():
        ours = {
            name.removeprefix("cpp_chunk.")
            for name in imported_names(path)
            if name.startswith("cpp_chunk.")
        }
        modules = ours & {*files, "_core"}
        folders = {name.rpartition(".")[0] for name in modules} - {""}
        graph[module] = (modules | folders) - {module}
    return graph


def floor_of(module: str) -> tuple[int, str]:
    """The floor that a module is on, from the ground up, and its room."""
    rooms = {
        room: floor
        for floor, names in enumerate(FLOORS)
        for room in names
        if module == room or module.startswith(f"{room}.")
    }
    room = max(rooms, key=len)
    return rooms[room], room


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return import_graph()


def test_no_import_goes_round_in_a_circle(graph: dict[str, set[str]]) -> None:
    TopologicalSorter(graph).prepare()


def test_no_import_goes_upward_or_next_door(graph: dict[str, set[str]]) -> None:
    wrong = []
    for module, imported in graph.items():
        if not module:
            continue
        floor, room = floor_of(module)
        for other in imported:
            other_floor, other_room = floor_of(other)
            if other_floor > floor or (other_floor == floor and other_room != room):
                wrong.append(f"{module} imports {other}")
    assert wrong == []


def test_the_package_itself_is_the_core_alone(graph: dict[str, set[str]]) -> None:
    assert graph[""] == {"_core"}


def test_no_command_imports_from_another_one(graph: dict[str, set[str]]) -> None:
    wrong = [
        f"{module} imports {other}"
        for command in COMMANDS
        for module in graph
        if module.startswith(f"cli.{command}.")
        for other in graph[module]
        if other.startswith("cli.") and not other.startswith((f"cli.{command}", "cli.shared"))
    ]
    assert wrong == []
