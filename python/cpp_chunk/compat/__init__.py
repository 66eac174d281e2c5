"""Whether a vLLM is one that we know: by its release, and by the shape of its code."""

from cpp_chunk.compat.installed import UnknownShapeError, check_installed
from cpp_chunk.compat.release import UntestedReleaseError, check_release, supported_range

__all__ = [
    "UnknownShapeError",
    "UntestedReleaseError",
    "check_installed",
    "check_release",
    "supported_range",
]
