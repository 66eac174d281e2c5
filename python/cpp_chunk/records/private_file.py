"""Small files of this user: others can neither read them nor slip theirs in.

Files and folders are made for their owner alone. A group may have been let in since, as the kubelet
does with a volume under `fsGroup` at each start of a pod (files 660, folders 2770): only the owner
or root can do so, so that group is trusted. What it could forge are figures, which are checked
where they are read, never code. Nobody means everybody to write: such a file or folder is refused.
Root may do anything anyway, so its folders, as a volume's own often is, are as good as the user's.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

_ROOT = 0


class UnsafeFileError(OSError):
    """A file or folder that is not to be trusted. The message says which and why."""


def read_private(path: Path, max_bytes: int) -> bytes:
    """Reads a file that nobody else can have written, or its group alone.

    Args:
        path: a regular file, no symbolic link.
        max_bytes: of a larger file nothing is read.

    Raises:
        UnsafeFileError: it is something else, of another user, writable for everybody, or larger.
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
    if found.st_mode & stat.S_IWOTH:
        raise UnsafeFileError(f"{path} is writable for everybody (mode {found.st_mode & 0o777:o})")
    if found.st_size > max_bytes:
        raise UnsafeFileError(
            f"{path} is {found.st_size} bytes long: allowed are {max_bytes} bytes"
        )


def write_private(path: Path, data: bytes) -> None:
    """Replaces a file at once, readable by this user only; makes its folder where missing.

    A reader sees the old file or the new one, whole, also after a crash of the machine. A symbolic
    link in its place is replaced.

    Raises:
        UnsafeFileError: the folder, or a link that leads to it, is another user's, or anybody may
            replace files in it.
        OSError: the file cannot be written; the old one is as it was.
    """
    folder = path.parent
    _check_links(folder)
    _make_folder(folder)
    _check_folder(folder)
    replace_private(path, data, is_durable=True)


def replace_private(path: Path, data: bytes, *, is_durable: bool) -> None:
    """The same, in a folder that is there and that the caller trusts.

    Args:
        path: the file.
        data: its content.
        is_durable: whether the file must outlive a crash of the machine, or only the writer's.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    # Makes a file of a name that nothing has, so that nothing planted is written to.
    descriptor, unfinished = tempfile.mkstemp(
        prefix=f".{path.name}.", suffix=".tmp", dir=path.parent
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if is_durable:
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


def _check_links(folder: Path) -> None:
    for part in (folder, *folder.parents):
        if part.is_symlink() and part.lstat().st_uid not in (_ROOT, os.geteuid()):
            raise UnsafeFileError(f"{part} is a symbolic link of another user")


def _check_folder(folder: Path) -> None:
    found = folder.stat()
    if found.st_uid not in (_ROOT, os.geteuid()):
        raise UnsafeFileError(f"{folder} belongs to another user")
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise UnsafeFileError(
            f"{folder} is writable for everybody (mode {found.st_mode & 0o7777:o})"
        )
