"""Profiles that are remembered: one file for each deployment, trusted only as far as it checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cpp_chunk.log import init_logger
from cpp_chunk.records.cache_dir import cache_dir
from cpp_chunk.records.private_file import read_private, write_private
from cpp_chunk.records.profile_file import (
    PipelineProfile,
    ProfileError,
    parse_profile,
    profile_bytes,
)

if TYPE_CHECKING:
    from pathlib import Path

    from cpp_chunk.settings.deployment import Deployment

logger = init_logger(__name__)

# Some ten times what hundreds of stages take.
MAX_BYTES: Final = 1 << 20
_SUFFIX = ".json"


@dataclass(frozen=True)
class StoredProfile:
    """A file of the store.

    Attributes:
        digest: of the deployment, by the file's name.
        path: the file.
        profile: None where the file is none that would be used.
        problem: then, why not.
    """

    digest: str
    path: Path
    profile: PipelineProfile | None
    problem: str | None


class ProfileStore:
    """The profiles in a folder, which need not exist.

    Args:
        folder: where they are; made when one is saved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of_user(cls) -> ProfileStore:
        """The one that engines of this user use."""
        return cls(cache_dir() / "profiles")

    def path(self, deployment: Deployment) -> Path:
        """The file of a deployment."""
        return self._folder / f"{deployment.digest}{_SUFFIX}"

    def load(self, deployment: Deployment) -> PipelineProfile | None:
        """The profile of this deployment, or None; a file that is wrong gets one warning."""
        path = self.path(deployment)
        try:
            profile = _read(path)
            _check_deployment(path, profile, deployment)
        except FileNotFoundError:
            return None
        except (OSError, ProfileError) as error:
            logger.warning("remembered profile not used: %s", error)
            return None
        return profile

    def save(self, profile: PipelineProfile) -> None:
        """Remembers a profile in the place of an older one of the same deployment.

        Raises:
            OSError: it cannot be written.
            ValueError: it does not say of which deployment it is.
        """
        if profile.deployment is None:
            raise ValueError("a profile without a deployment cannot be found again")
        write_private(self.path(profile.deployment), profile_bytes(profile))

    def entries(self) -> list[StoredProfile]:
        """All files, by name.

        Raises:
            OSError: the folder cannot be read.
        """
        if not self._folder.exists():
            return []
        return [_entry(path) for path in sorted(self._folder.glob(f"*{_SUFFIX}"))]

    def remove(self, digest: str) -> None:
        """Forgets a profile; of a symbolic link, the link goes.

        Args:
            digest: of one of `entries()`.

        Raises:
            OSError: it cannot be removed; FileNotFoundError where there is none.
        """
        path = self._folder / f"{digest}{_SUFFIX}"
        if path.parent != self._folder:
            raise FileNotFoundError(f"{digest} is no profile's name")
        path.unlink()


def _read(path: Path) -> PipelineProfile:
    profile = parse_profile(path, read_private(path, MAX_BYTES))
    if profile.deployment is None:
        raise ProfileError(f"{path} does not say of which deployment it is")
    if not profile.passes:
        raise ProfileError(f"{path} holds no passes: allowed are those that it was fitted to")
    num_stages = profile.deployment.pipeline_parallel_size
    for place, found in [
        ("stages", len(profile.stages)),
        *(
            (f"passes.{index}.stage_ms", len(one.stage_ms))
            for index, one in enumerate(profile.passes)
        ),
    ]:
        if found != num_stages:
            raise ProfileError(
                f"{path}: {place} has {found} entries: allowed are {num_stages}, "
                "pipeline_parallel_size"
            )
    return profile


def _check_deployment(path: Path, profile: PipelineProfile, deployment: Deployment) -> None:
    assert profile.deployment is not None  # noqa: S101 - `_read` has seen to it
    if names := profile.deployment.differences(deployment):
        raise ProfileError(
            f"{path} is of another deployment, with another {', another '.join(names)}"
        )


def _entry(path: Path) -> StoredProfile:
    digest = path.name.removesuffix(_SUFFIX)
    try:
        profile = _read(path)
    except (OSError, ProfileError) as error:
        return StoredProfile(digest, path, None, str(error))
    assert profile.deployment is not None  # noqa: S101
    if (own := profile.deployment.digest) != digest:
        return StoredProfile(digest, path, None, f"{path} holds the profile of {own}")
    return StoredProfile(digest, path, profile, None)
