"""A build of its own of a copy of the sources, in which one object at a time is another."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = ("CMakeLists.txt", "cmake", "csrc", "tests/cpp", "tests/data")
TARGET = "cpp_chunk_tests"


class MutantBuild:
    """The C++ tests, built once; after that a mutant costs one object and the linker."""

    def __init__(self, folder: Path) -> None:
        self.sources = folder / "sources"
        self._build = folder / "build"

    def make(self) -> None:
        """Copies what is built and builds it: whoever edits the tree meanwhile disturbs nothing."""
        for name in COPIED:
            _copy(REPOSITORY / name, self.sources / name)
        # Warnings are no errors here: a mistake that leaves a variable unused is one all the same.
        configure = ["cmake", "-S", str(self.sources), "-B", str(self._build), "-G", "Ninja"]
        configure += ["-DCMAKE_BUILD_TYPE=Release", "-DCPP_CHUNK_BUILD_TESTS=ON"]
        configure += ["-DCPP_CHUNK_WARNINGS_AS_ERRORS=OFF", "--log-level=NOTICE"]
        configure += [f"-DPython_EXECUTABLE={sys.executable}"]
        subprocess.run(configure, check=True)
        compile_all = ["cmake", "--build", str(self._build), "--target", TARGET]
        subprocess.run(compile_all, check=True)

    def compile(self, source: Path, mutated: Path, output: Path) -> bool:
        """Whether the compiler takes `mutated` in place of `source`."""
        entries = json.loads((self._build / "compile_commands.json").read_text())
        command = next(one["command"] for one in entries if one["file"] == str(source))
        words = shlex.split(command)
        words[words.index("-o") + 1] = str(output)
        words[words.index("-c") + 1] = str(mutated)
        return self._succeeds([*words, "-w"])

    def link(self, changed: Path, output: Path) -> bool:
        """The tests with a changed object: the library's own is then not asked for."""
        ask = ["ninja", "-C", str(self._build), "-t", "commands", TARGET]
        commands = subprocess.check_output(ask, text=True).splitlines()
        steps = (shlex.split(step) for step in commands[-1].split(" && "))
        words = next(step for step in steps if "-o" in step)
        words[words.index("-o") + 1] = str(output)
        first_library = next(i for i, word in enumerate(words) if word.endswith("libcpp_chunk.a"))
        return self._succeeds([*words[:first_library], str(changed), *words[first_library:]])

    def _succeeds(self, command: list[str]) -> bool:
        done = subprocess.run(command, cwd=self._build, capture_output=True, check=False)
        return done.returncode == 0


def _copy(source: Path, copy: Path) -> None:
    """With the times of the files, so that a second run builds what has changed only."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(source, copy)
    else:
        shutil.copy2(source, copy)
