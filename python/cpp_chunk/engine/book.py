"""The book of steps: what each step in flight holds, by its number, as vLLM has scheduled it.

Our hook hears what vLLM asks; what is done stands in `SchedulerOutput`, and when it is done in
that step's answer. All that plans, calibrates or guards reads from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cpp_chunk.worker.timer import STEP_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.request import Request

    from cpp_chunk.engine.stage_fits import Chunks

# Of a prompt so much is left when its next token is a decode's.
DECODE_REMAINING_TOKENS = 1


@dataclass(slots=True)
class BookedStep:
    """One step as it went off.

    Attributes:
        step_id: its number; they rise.
        prefills: (num_tokens, num_computed_tokens) of each chunk that is no decode.
        num_ended: prompts of which nothing is left behind this step.
        output: vLLM's own, with all requests of the step.
    """

    step_id: int
    prefills: Chunks
    num_ended: int
    output: SchedulerOutput

    def chunks(self, requests: Mapping[str, Request]) -> Chunks:
        """(num_tokens, num_computed_tokens) of every request, decodes too, before the next step."""
        return [
            (num_tokens, requests[key].num_computed_tokens - num_tokens)
            for key, num_tokens in self.output.num_scheduled_tokens.items()
        ]


class StepBook:
    """The steps in flight. One engine core owns it; not thread-safe."""

    def __init__(self) -> None:
        self._last_step_id = 0
        self._tokens_per_decode = 1
        self._in_flight: dict[int, BookedStep] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no step is in flight."""
        return not self._in_flight

    @property
    def last_step_id(self) -> int:
        """The number of the latest step; the next one's is larger."""
        return self._last_step_id

    @property
    def tokens_per_decode(self) -> int:
        """What a decode had of the last step with any: more than 1 with speculative tokens."""
        return self._tokens_per_decode

    def scheduled(
        self, output: SchedulerOutput, requests: Mapping[str, Request]
    ) -> BookedStep | None:
        """Takes what `schedule()` has just made, and numbers it, also for the workers' timers.

        Returns:
            The step; None for an empty one, which has no entry.
        """
        tokens = output.num_scheduled_tokens
        if not tokens:
            return None
        self._last_step_id += 1
        setattr(output, STEP_ID, self._last_step_id)
        prefills: Chunks = []
        num_ended = 0
        # A decode has one token, unless it brings speculative ones: then what is left of the
        # request tells. schedule() has moved num_computed_tokens past this step already.
        if output.total_num_scheduled_tokens > len(tokens):
            for key, num_tokens in tokens.items():
                if num_tokens > 1:
                    request = requests[key]
                    start = request.num_computed_tokens - num_tokens
                    if request.num_tokens - start > DECODE_REMAINING_TOKENS:
                        prefills.append((num_tokens, start))
                        num_ended += request.num_computed_tokens >= request.num_tokens
        if num_decodes := len(tokens) - len(prefills):
            num_tokens = output.total_num_scheduled_tokens - sum(chunk for chunk, _ in prefills)
            self._tokens_per_decode = round(num_tokens / num_decodes)
        step = BookedStep(self._last_step_id, prefills, num_ended, output)
        self._in_flight[step.step_id] = step
        return step

    def left(self, output: SchedulerOutput) -> int | None:
        """Takes that a step's output is processed.

        Returns:
            Its number; None where it has no entry.
        """
        step_id: int | None = getattr(output, STEP_ID, None)
        if step_id is None or self._in_flight.pop(step_id, None) is None:
            return None
        # vLLM processes steps in order: one before it that is still here was dropped by somebody.
        for earlier in [key for key in self._in_flight if key < step_id]:
            del self._in_flight[earlier]
        return step_id
