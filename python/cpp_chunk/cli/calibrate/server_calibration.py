"""The calibration workload: prompts one at a time, and what the server measured of each."""

from __future__ import annotations

import itertools
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cpp_chunk.cli.calibrate.metrics_page import NoFiguresError, ServerFigures, read_figures
from cpp_chunk.cli.shared.console import progress
from cpp_chunk.cli.shared.errors import CommandError, wrong_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cpp_chunk.cli.calibrate.openai_server import OpenAIServer

# Times of a prompt's last steps come in with the replies of later steps.
_MAX_FLUSHES = 3
_POLL_INTERVAL_S = 0.1
_MAX_POLLS = 10


@dataclass(frozen=True)
class PromptRun:
    """What one prompt took, and the server's figures before and after it."""

    ttft_ms: float
    before: ServerFigures
    after: ServerFigures

    @property
    def measured_steps(self) -> int:
        """Its steps that were measured."""
        return self.after.steps_since(self.before)

    @property
    def prediction_error(self) -> float | None:
        """Mean |predicted / measured - 1| of these; None where there are none."""
        return self.after.mean_error_since(self.before)

    def to_json(self) -> dict[str, Any]:
        """What the server does not show is None."""
        return {
            "ttft_ms": self.ttft_ms,
            "prediction_error_ratio": self.prediction_error,
            "measured_steps": self.measured_steps,
            "refits_total": self.after.refits,
            "dynamic": self.after.is_dynamic,
        }


def check_figures(server: OpenAIServer) -> ServerFigures:
    """One reading of the server's figures.

    Raises:
        CommandError: the server does not show them.
    """
    try:
        return read_figures(server.metrics_page())
    except NoFiguresError as error:
        raise wrong_value("URL", server.url, str(error)) from None


def calibrate_server(
    server: OpenAIServer, model: str, prompts: Iterator[list[int]], num_prompts: int
) -> list[PromptRun]:
    """Sends the prompts, one after the other's end, and reads the figures between them.

    Args:
        server: one that does nothing else meanwhile.
        model: its name there.
        prompts: at least so many, as token ids.
        num_prompts: how many to send.

    Raises:
        CommandError: a request failed; the sentence says with which prompt.
    """
    runs: list[PromptRun] = []
    before: ServerFigures | None = None
    with progress(num_prompts) as begin:
        for number, prompt in enumerate(itertools.islice(prompts, num_prompts), start=1):
            begin(f"prompt {number}")
            try:
                if before is None:
                    # What earlier requests left is none of the first prompt's.
                    before = _settled(server, model, prompt[:1], None)
                ttft_ms = server.time_to_first_token_ms(model, prompt, secrets.token_urlsafe())
                after = _settled(server, model, prompt[:1], before)
            except CommandError as error:
                raise CommandError(f"Prompt {number} of {num_prompts} failed: {error}") from None
            runs.append(PromptRun(ttft_ms, before, after))
            before = after
    return runs


def _settled(
    server: OpenAIServer, model: str, one_token: Sequence[int], before: ServerFigures | None
) -> ServerFigures:
    """The figures once nothing more comes in; above those before, if any step was measured.

    Short requests let late times in. They are of one token: a step of decodes alone, of which the
    server measures few, while one of any other length would be among the next prompt's steps.
    """
    figures = _still(server)
    for _ in range(_MAX_FLUSHES):
        server.time_to_first_token_ms(model, one_token, secrets.token_urlsafe())
        last, figures = figures, _still(server)
        has_grown = before is None or figures.measured_steps > before.measured_steps
        if has_grown and figures == last:
            break
    return figures


def _still(server: OpenAIServer) -> ServerFigures:
    """The figures once two readings are alike."""
    figures = check_figures(server)
    for _ in range(_MAX_POLLS):
        time.sleep(_POLL_INTERVAL_S)
        last, figures = figures, check_figures(server)
        if figures == last:
            break
    return figures
