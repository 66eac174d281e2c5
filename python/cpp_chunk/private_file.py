"""Small files that only this user may touch: others can neither read them nor slip theirs in."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

_FOR_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class UnsafeFileError(OSError):
    """A file or folder that is not to be trusted. The message says which and why."""


def read_private(path: Path, max_bytes: int) -> bytes:
    """Reads a file that nobody else can have written.

    Args:
        path: a regular file, no symbolic link.
        max_bytes: of a larger file nothing is read.

    Raises:
        UnsafeFileError: it is something else, of another user, writable for others, or larger.
        OSError: it cannot be read; FileNotFoundError where there is none.
    """
    try:
        # Without O_NONBLOCK, opening a pipe would wait for somebody to write.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnsafeFileError(f"{path} is a symbolic link") from None
        raise
    try:
        # Of what is open: what the name stands for may change meanwhile.
        _check_file(path, os.fstat(descriptor), max_bytes)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(max_bytes)
    finally:
        os.close(descriptor)


def _check_file(path: Path, found: os.stat_result, max_bytes: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UnsafeFileError(f"{path} is no regular file")
    if found.st_uid != os.geteuid():
        raise UnsafeFileError(f"{path} belongs to another user")
    if found.st_mode & _FOR_OTHERS:
        raise UnsafeFileError(f"{path} is writable for others (mode {found.st_mode & 0o777:o})")
    if found.st_size > max_bytes:
        raise UnsafeFileError(
            f"{path} is {found.st_size} bytes long: allowed are {max_bytes} bytes"
        )


def write_private(path: Path, data: bytes) -> None:
    """Replaces a file at once, readable by this user only; makes its folder where missing.

    A reader sees the old file or the new one, whole. A symbolic link in its place is replaced.

    Raises:
        UnsafeFileError: the folder is another user's, or anybody may replace files in it.
        OSError: the file cannot be written; the old one is as it was.
    """
    folder = path.parent
    _make_folder(folder)
    _check_folder(folder)
    descriptor, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    # `mkdir(parents=True)` would give the mode to the last folder only.
    _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def _check_folder(folder: Path) -> None:
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise UnsafeFileError(f"{folder} belongs to another user")
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise UnsafeFileError(
            f"{folder} is writable for everybody (mode {found.st_mode & 0o7777:o})"
        )
