"""The folder of what is remembered: our variable, the user's cache, or home."""

from __future__ import annotations

from pathlib import Path

import pytest
from cpp_chunk.records.cache_dir import CACHE_DIR_VARIABLE, cache_dir


@pytest.mark.parametrize(
    ("own", "users", "folder"),
    [
        ("/own", "/users", "/own"),
        ("", "/users", "/users/cpp_chunk"),
        (None, "/users", "/users/cpp_chunk"),
        (None, "relative", "/home/someone/.cache/cpp_chunk"),
        (None, "", "/home/someone/.cache/cpp_chunk"),
        (None, None, "/home/someone/.cache/cpp_chunk"),
    ],
)
def test_order(
    monkeypatch: pytest.MonkeyPatch, own: str | None, users: str | None, folder: str
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    for name, value in ((CACHE_DIR_VARIABLE, own), ("XDG_CACHE_HOME", users)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert cache_dir() == Path(folder)


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(CACHE_DIR_VARIABLE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cache_dir().parent == tmp_path
