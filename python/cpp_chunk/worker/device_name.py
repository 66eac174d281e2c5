"""What the worker's device calls itself: a profile holds for one kind of device."""

from __future__ import annotations

from typing import Any

from cpp_chunk.settings.deployment import device_name


def name(worker: Any) -> str:
    """The device's name. Runs in the worker."""
    return device_name()
