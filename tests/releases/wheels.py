"""Fetches a released wheel and unpacks its Python files."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "build" / "releases"
# vLLM's wheels are for one ABI, vllm-ascend's for a version of Python each.
_TARGET = ("--python-version", "3.11", "--implementation", "cp", "--abi", "cp311", "--abi", "abi3")
_PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_31_x86_64", "manylinux_2_34_x86_64")


class NoWheelError(RuntimeError):
    """The configured package indexes hold no such wheel; the message is pip's."""


def unpacked(distribution: str, version: str) -> Path:
    """The folder of a wheel's Python files and metadata; fetched at the first call.

    Raises:
        NoWheelError: there is none.
    """
    folder = FOLDER / f"{distribution}-{version}"
    if not folder.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
            wheel = _download(distribution, version, Path(scratch))
            content = Path(scratch) / "content"
            _unpack(wheel, content)
            # Whole or not at all: a run that is broken off leaves nothing that looks complete.
            shutil.move(content, folder)
    return folder


def _download(distribution: str, version: str, folder: Path) -> Path:
    platforms = [word for platform in _PLATFORMS for word in ("--platform", platform)]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"),
            *("--no-deps", "--only-binary", ":all:", *_TARGET, *platforms),
            *("--dest", str(folder), f"{distribution}=={version}"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NoWheelError(f"{distribution} {version}: {done.stderr.strip().splitlines()[-1]}")
    [wheel] = folder.glob("*.whl")
    return wheel


def _unpack(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if member.endswith(".py") or ".dist-info/" in member:
                archive.extract(member, folder)
