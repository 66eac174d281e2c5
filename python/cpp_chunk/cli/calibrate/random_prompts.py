"""Prompts of one length, all different, in the model's own tokens."""

from __future__ import annotations

import random
import string
from typing import TYPE_CHECKING

from cpp_chunk.cli.shared.errors import wrong_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cpp_chunk.cli.calibrate.openai_server import OpenAIServer

# Rarely does a token stand for more characters of a random word.
_CHARACTERS_PER_TOKEN = 4
# Text for the longest prompts goes to the tokenizer piece by piece.
_MAX_CHARACTERS = 1 << 16
_MAX_WORD_CHARACTERS = 8


def random_prompts(
    server: OpenAIServer, model: str, num_tokens: int, seed: int
) -> Iterator[list[int]]:
    """Endless prompts of so many token ids each, made when they are asked for.

    Args:
        server: whose tokenizer is used.
        model: its name there.
        num_tokens: of each prompt.
        seed: of the random words.

    Raises:
        CommandError: the server tokenizes nothing.
    """
    generator = random.Random(seed)  # noqa: S311
    while True:
        prompt: list[int] = []
        while len(prompt) < num_tokens:
            num_characters = _CHARACTERS_PER_TOKEN * (num_tokens - len(prompt))
            text = _random_text(generator, min(num_characters, _MAX_CHARACTERS))
            tokens = server.tokenize(model, text).tokens
            if not tokens:
                raise wrong_value("URL", server.url, "a server that makes tokens of a text")
            prompt += tokens
        yield prompt[:num_tokens]


def _random_text(generator: random.Random, num_characters: int) -> str:
    """Words of random letters, at least so many characters."""
    words: list[str] = []
    length = 0
    while length < num_characters:
        letters = generator.choices(
            string.ascii_lowercase, k=generator.randint(1, _MAX_WORD_CHARACTERS)
        )
        words.append("".join(letters))
        length += len(letters) + 1
    return " ".join(words)
