"""What a server answers with: of each reply, the fields that are read."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, Field

_MAX_WORDS = 200


class ModelCard(BaseModel):
    """One model of `/v1/models`."""

    id: str


class ModelList(BaseModel):
    """`/v1/models`."""

    data: list[ModelCard] = Field(min_length=1)


class TokenizeReply(BaseModel):
    """`/tokenize`. `max_model_len` counts the prompt's tokens and those generated."""

    tokens: list[int]
    max_model_len: int


class CompletionChunk(BaseModel):
    """One event of a streamed `/v1/completions`."""

    choices: list[Any] = []
    error: Any = None


def error_message(text: str) -> str:
    """What a server says of an error, from the places where servers put it; empty if nowhere."""
    try:
        reply = json.loads(text)
    except ValueError:
        return ""
    for key in ("error", "message", "detail"):
        if isinstance(reply, dict) and key in reply:
            reply = reply[key]
    return one_line(reply) if isinstance(reply, str) else ""


def one_line(text: str) -> str:
    """A text as part of a sentence: on one line, not endless, without its full stop."""
    words = " ".join(text.split())
    return (words if len(words) <= _MAX_WORDS else f"{words[:_MAX_WORDS]} ...").rstrip(".")
