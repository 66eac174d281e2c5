"""The installed vLLM, held against the supported range and the ledger before a model loads."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

from cpp_chunk.compat.release import check_release
from cpp_chunk.compat.relied_on import ledger
from cpp_chunk.compat.source_check import check_ledger, check_vllm
from cpp_chunk.compat.sources import Sources
from cpp_chunk.settings.config import KEY

_ENGINE = "vllm"
_PLATFORM = "vllm_ascend"


class UnknownShapeError(RuntimeError):
    """A vLLM without something that we rely on. The message names the release and what."""


def check_installed(vllm_root: Path | None = None) -> None:
    """Refuses a vLLM that is outside of the supported range, or not as the ledger has it.

    Reads sources and imports nothing: it takes about a second.

    Args:
        vllm_root: vLLM's package folder; None for the one that would be imported, and vllm-ascend
            beside it where that has been imported.

    Raises:
        UntestedReleaseError: the release is outside of the range.
        UnknownShapeError: something that we rely on is not there.
    """
    engine = vllm_root if vllm_root is not None else _package_folder(_ENGINE)
    if engine is None:
        raise UnknownShapeError(f"{_ENGINE} is not installed.")
    release = release_of(engine)
    check_release(release)
    problems = check_vllm(Sources(engine.parent), ledger("vllm"))
    found = [problem for seam in problems.values() for problem in seam]
    # Where it is installed and vLLM runs on something else, its shape is of no account.
    is_asked = vllm_root is None and f"{_PLATFORM}.platform" in sys.modules
    platform = _package_folder(_PLATFORM) if is_asked else None
    if platform is not None:
        problems = check_ledger(Sources(platform.parent, engine.parent), ledger("ascend"))
        found += [problem for seam in problems.values() for problem in seam]
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        raise UnknownShapeError(
            f"vLLM {release} has a shape that cpp_chunk does not know ({found[0].rstrip('.')}"
            f"{more}): allowed is one of the releases in docs/compatibility.md, or "
            f"{KEY}.allow_untested true to try this one anyway."
        )


def release_of(package_folder: Path) -> str:
    """The version that a package's own `_version.py` or `version.py` says; "unknown" without."""
    for name in ("_version.py", "version.py"):
        file = package_folder / name
        for statement in ast.parse(file.read_text("utf-8")).body if file.is_file() else ():
            if (
                isinstance(statement, ast.Assign)
                and isinstance(statement.value, ast.Constant)
                and "__version__" in map(ast.unparse, statement.targets)
            ):
                return str(statement.value.value)
    return "unknown"


def _package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    locations = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(locations))) if locations else None
