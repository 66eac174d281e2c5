"""Guard: whether the models may choose chunks, by how well they do.

Three things take that right away: steps that are not as long as predicted, prompts that go
through the pipeline more slowly than fixed chunks would by the models' own account, and times
that do not come in, so that nobody knows. While it is away steps are measured and models
calibrated as ever, and it comes back once predictions hold.
"""

from __future__ import annotations

import statistics
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cpp_chunk.engine.calibration.lone_prompt import LonePrompts
    from cpp_chunk.engine.calibration.noted_step import NotedStep
    from cpp_chunk.engine.stage_timers import StepOnStages

WINDOW_STEPS: Final = 64
MAX_MEDIAN_ERROR: Final = 0.25
# To come back takes more than not having been sent away.
_MAX_ERROR_TO_RETURN: Final = 0.15
WINDOW_PROMPTS: Final = 6
# Beyond what a prompt's time scatters by, and what the account leaves out.
MAX_SHARE_OF_FIXED: Final = 1.1
# Each time that dynamic chunks turn out slower, they are tried again twice as much later.
_MAX_PATIENCE: Final = 64
# Workers are asked after every 8 noted steps, and answer behind the steps in flight, of those that
# have ended: a step's times are there some 50 noted steps later even with 16 stages. And it is well
# within what workers keep (RING_STEPS), so that times which are only late are not lost yet.
SILENT_STEPS: Final = 128


class Guard:
    """Watches steps and prompts; says whether dynamic chunks are to be trusted.

    Args:
        lone_prompts: what is known of whole prompts; None if they are not to be held against fixed
            chunks.
    """

    def __init__(self, lone_prompts: LonePrompts | None = None) -> None:
        self._lone_prompts = lone_prompts
        self._errors: deque[float] = deque(maxlen=WINDOW_STEPS)
        self._shares: deque[float] = deque(maxlen=WINDOW_PROMPTS)
        self._steps_without_times = 0
        self._steps_since_change = 0
        self._patience = 1
        self._steps_to_wait = 0
        self.distrust: str | None = None

    @property
    def median_error(self) -> float | None:
        """Of `|predicted / measured - 1|` over recent steps; None before there are any."""
        return statistics.median(self._errors) if self._errors else None

    def note_step(self) -> None:
        """Takes a step whose times are to come."""
        self._steps_without_times += 1

    def take_step(self, step: NotedStep, stages: StepOnStages, gap_ms: float) -> float | None:
        """Takes a step whose times have come in, from all stages.

        Returns:
            `|predicted / measured - 1|` on its slowest stage; None without prefill or prediction.
        """
        self._steps_without_times = 0
        if self._lone_prompts is not None:
            prompt = self._lone_prompts.add(step, stages, gap_ms)
            if prompt is not None:
                self.add_prompt(*prompt)
        predicted_ms = step.predicted_ms
        measured_ms = max(compute_ms for _, compute_ms in stages.values())
        if predicted_ms is None or not step.has_prefill or measured_ms <= 0:
            return None
        return self.add_step(predicted_ms, measured_ms)

    def add_step(self, predicted_ms: float, measured_ms: float) -> float:
        """Takes a prediction; `|predicted / measured - 1|`."""
        error = abs(predicted_ms / measured_ms - 1)
        self._errors.append(error)
        self._steps_since_change += 1
        return error

    def add_prompt(self, measured_ms: float, fixed_ms: float) -> None:
        """Takes a prompt that had the pipeline to itself, in dynamic chunks.

        Args:
            measured_ms: from its first step's beginning to its last one's end.
            fixed_ms: what fixed chunks would have taken by the models in force.
        """
        self._shares.append(measured_ms / fixed_ms)

    def weigh(self) -> bool:
        """Thinks again; true if trust was lost or has come back, as `distrust` tells."""
        error, before = self.median_error, self.distrust
        if before is None:
            self.distrust = self._reason(error)
        elif (
            self._steps_since_change >= max(WINDOW_STEPS, self._steps_to_wait)
            and error is not None
            and error <= _MAX_ERROR_TO_RETURN
        ):
            self.distrust = None
        if (before is None) == (self.distrust is None):
            return False
        self._steps_since_change = 0
        self._shares.clear()
        if self.distrust is None:
            # Trust begins anew: what was wrong before is in the window no longer.
            self._errors.clear()
        return True

    def _reason(self, error: float | None) -> str | None:
        if self._steps_without_times >= SILENT_STEPS:
            self._steps_to_wait = 0
            return f"no times of all stages have come in for {SILENT_STEPS} steps"
        if len(self._errors) == WINDOW_STEPS and error is not None and error > MAX_MEDIAN_ERROR:
            self._steps_to_wait = 0
            return (
                f"half of the last {WINDOW_STEPS} steps were more than {100 * error:.0f} % off "
                f"their prediction, allowed are {100 * MAX_MEDIAN_ERROR:.0f} %"
            )
        if len(self._shares) == WINDOW_PROMPTS:
            share = statistics.median(self._shares)
            if share > MAX_SHARE_OF_FIXED:
                self._steps_to_wait = self._patience * WINDOW_STEPS
                self._patience = min(2 * self._patience, _MAX_PATIENCE)
                return (
                    f"half of the last {WINDOW_PROMPTS} prompts took more than {share:.2f} of the "
                    f"time that fixed chunks would by the model, allowed are {MAX_SHARE_OF_FIXED}"
                )
        return None
