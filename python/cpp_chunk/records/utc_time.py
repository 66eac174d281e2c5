"""Times of day in files: text that sorts, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator


def _is_utc(text: str) -> str:
    if datetime.fromisoformat(text).utcoffset() != timedelta(0):
        raise ValueError(text)
    return text


# A string and not a datetime: strict validation takes no string for one.
UtcTime = Annotated[str, AfterValidator(_is_utc)]
UTC_TIME_ALLOWED = "an ISO 8601 time in UTC, such as 2026-01-31T12:00:00+00:00"


def utc_now() -> str:
    """This second, as files have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
