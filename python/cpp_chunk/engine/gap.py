"""A step's cost to a stage beyond its compute: scheduling, messages, transfer.

The timers see compute only, so planning with them alone would cut too finely. The cost shows as
the first stage's idle time between two chunks that follow each other.
"""

from __future__ import annotations

import statistics
from collections import deque

_RING_GAPS = 64
_FEWEST_GAPS = 4


class GapMeter:
    """The lower quartile of recent gaps.

    Where later stages hold the pipeline up, the first one's idle time is longer than the cost;
    where it is itself the slowest, it is the cost. The lower quartile is of the second kind.
    One stage's clock is enough: those of stages on other hosts need not agree with it.

    Args:
        gap_ms: what is known of it before enough gaps were seen.
    """

    def __init__(self, gap_ms: float = 0.0) -> None:
        self._known_ms = gap_ms
        self._gaps_ms: deque[float] = deque(maxlen=_RING_GAPS)

    def add(self, before: tuple[float, float], after: tuple[float, float]) -> None:
        """Takes two steps that followed each other without a pause in the work.

        Args:
            before: the first stage's (start_s, compute_ms) of the earlier step.
            after: the same of the later one.
        """
        gap_ms = (after[0] - before[0]) * 1e3 - before[1]
        self._gaps_ms.append(max(0.0, gap_ms))

    @property
    def gap_ms(self) -> float:
        """The cost."""
        if len(self._gaps_ms) < _FEWEST_GAPS:
            return self._known_ms
        return statistics.quantiles(self._gaps_ms, n=4)[0]
