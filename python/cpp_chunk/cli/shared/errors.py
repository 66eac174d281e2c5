"""What stops a command: one sentence with the option, its value and what is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class CommandError(Exception):
    """A wrong input of the user's. The message is the whole sentence that they get to see."""


def wrong_value(option: str, value: object, allowed: str) -> CommandError:
    """The sentence of one wrong value.

    Args:
        option: as it is written on the command line, with a place in a file where there is one.
        value: as the user wrote it.
        allowed: what may stand there instead.
    """
    return CommandError(f"{option} is {value!r}: allowed is {allowed}.")


def unreadable(option: str, path: Path, error: OSError) -> CommandError:
    """The sentence of a file that cannot be read."""
    return wrong_value(option, str(path), f"a file that can be read ({error.strerror})")


def unwritable(option: str, path: Path, error: OSError) -> CommandError:
    """The sentence of a file that cannot be written."""
    return wrong_value(option, str(path), f"a file that can be written ({error.strerror})")
