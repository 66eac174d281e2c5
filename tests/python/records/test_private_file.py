"""Files that only the user may touch: what is refused, and that writing is all or nothing."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from cpp_chunk.records.private_file import UnsafeFileError, read_private, write_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_written_is_read_by_the_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "made" / "for" / "it" / "file"
    before = os.umask(0)
    try:
        write_private(path, b"first")
        write_private(path, b"second")
    finally:
        os.umask(before)
    assert read_private(path, max_bytes=6) == b"second"
    assert mode(path) == 0o600
    assert [mode(folder) for folder in list(path.parents)[:3]] == [0o700] * 3
    assert list(path.parent.iterdir()) == [path]


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_private(tmp_path / "none", max_bytes=1)


@pytest.mark.parametrize("everybody", [0o602, 0o666])
def test_a_file_that_everybody_may_write_is_not_read(tmp_path: Path, everybody: int) -> None:
    path = tmp_path / "file"
    write_private(path, b"x")
    path.chmod(everybody)
    words = f"file is writable for everybody .mode {everybody:o}"
    with pytest.raises(UnsafeFileError, match=words):
        read_private(path, max_bytes=1)


@pytest.mark.parametrize("others", [0o644, 0o660])
def test_a_file_that_its_owner_opened_to_others_is_read(tmp_path: Path, others: int) -> None:
    path = tmp_path / "file"
    write_private(path, b"x")
    path.chmod(others)
    assert read_private(path, max_bytes=1) == b"x"
    # Made anew, it is for its owner alone again.
    write_private(path, b"y")
    assert mode(path) == 0o600


def test_another_users_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_private(path, b"x")
    monkeypatch.setattr("os.geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(UnsafeFileError, match="file belongs to another user"):
        read_private(path, max_bytes=1)


def test_of_a_large_file_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_private(path, b"")
    # Takes no room on the disk.
    os.truncate(path, 1 << 30)
    monkeypatch.setattr("os.fdopen", None)
    with pytest.raises(UnsafeFileError, match="is 1073741824 bytes long: allowed are 10 bytes"):
        read_private(path, max_bytes=10)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "link", tmp_path / "elsewhere"
    elsewhere.write_bytes(b"x")
    path.symlink_to(elsewhere)
    with pytest.raises(UnsafeFileError, match="link is a symbolic link"):
        read_private(path, max_bytes=1)


def test_writing_replaces_a_link(tmp_path: Path) -> None:
    path, elsewhere = tmp_path / "link", tmp_path / "elsewhere"
    elsewhere.write_bytes(b"as it was")
    path.symlink_to(elsewhere)
    write_private(path, b"new")
    assert not path.is_symlink()
    assert path.read_bytes() == b"new"
    assert elsewhere.read_bytes() == b"as it was"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "other"
    make(path)
    with pytest.raises(UnsafeFileError, match="other is no regular file"):
        read_private(path, max_bytes=1)


def test_a_folder_that_anybody_may_write_to_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(UnsafeFileError, match=r"open is writable for everybody \(mode 777\)"):
        write_private(folder / "file", b"x")
    assert list(folder.iterdir()) == []
    # As in /tmp, others cannot replace the file here.
    folder.chmod(0o1777)
    write_private(folder / "file", b"x")


def as_another_user(monkeypatch: pytest.MonkeyPatch, path: Path, root: int | None = None) -> None:
    """What is at `path` is another user's from here on: an ordinary one's, or root's."""
    owner = path.lstat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    monkeypatch.setattr("cpp_chunk.records.private_file._ROOT", owner if root is None else root)


def test_another_users_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_another_user(monkeypatch, tmp_path, root=-1)
    with pytest.raises(UnsafeFileError, match="belongs to another user"):
        write_private(tmp_path / "file", b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_roots_is_as_good_as_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_another_user(monkeypatch, tmp_path)
    write_private(tmp_path / "file", b"x")
    assert (tmp_path / "file").read_bytes() == b"x"


def test_another_users_link_to_a_folder_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, link = tmp_path / "elsewhere", tmp_path / "link"
    elsewhere.mkdir()
    link.symlink_to(elsewhere)
    write_private(link / "own" / "file", b"x")
    as_another_user(monkeypatch, link, root=-1)
    with pytest.raises(UnsafeFileError, match="link is a symbolic link of another user"):
        write_private(link / "made" / "file", b"x")
    assert [path.name for path in elsewhere.iterdir()] == ["own"]


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_private(path, b"old")

    def no_room(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_room)
    with pytest.raises(OSError, match="No space left"):
        write_private(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(OSError, match="taken"):
        write_private(tmp_path / "taken" / "file", b"x")
