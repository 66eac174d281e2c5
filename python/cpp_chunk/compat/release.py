"""The vLLM releases that are supported: one range, in the package's metadata."""

from __future__ import annotations

import functools
import importlib.metadata
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from cpp_chunk.settings.config import KEY

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_DISTRIBUTION = "cpp-chunk"
_ENGINE = "vllm"


class UntestedReleaseError(RuntimeError):
    """A vLLM outside of the supported range. The message names the release and the range."""


@functools.cache
def supported_range() -> SpecifierSet:
    """The range, as the package's metadata has it for vLLM itself.

    Raises:
        LookupError: the metadata has none.
    """
    for text in importlib.metadata.requires(_DISTRIBUTION) or ():
        requirement = Requirement(text)
        if requirement.name == _ENGINE and requirement.specifier:
            return requirement.specifier
    raise LookupError(f"the metadata of {_DISTRIBUTION} has no range of {_ENGINE}: reinstall it.")


def range_words() -> str:
    """The range as people write it, the lower end first."""
    return ", ".join(sorted(map(str, supported_range()), reverse=True))


def is_supported(version: str) -> bool:
    """Whether a release is within the range.

    What leads up to a release (rc, dev) counts as that release, and a local part does not count.
    """
    try:
        release = Version(version).base_version
    except InvalidVersion:
        return False
    return supported_range().contains(release)


def check_release(version: str) -> None:
    """Refuses a release outside of the range.

    Args:
        version: vLLM's own word for it, such as "0.32.0+cpu".

    Raises:
        UntestedReleaseError: it is outside, or no version at all.
    """
    if not is_supported(version):
        raise UntestedReleaseError(
            f"vLLM {version} is not a release that cpp_chunk is tested with: allowed is "
            f"{range_words()}, or {KEY}.allow_untested true to try this one anyway."
        )
