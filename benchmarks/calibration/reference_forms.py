"""The two forms that vLLM's Ascend plugin fits, on the same measurements as ours.

At start-up it fits f(x) = a x^2 + b x + c to chunks without history and takes a chunk to cost
f(h + x) - f(h); from served chunks it fits a C (C + H) + b (C + H) + c. Both by least squares on
absolute times, as there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.engine_figures.model_error import Sample


def zero_history_form(samples: Sequence[Sample]) -> Callable[[list[tuple[int, int]]], float]:
    """Fitted to the chunks without history among the samples."""
    chunks = [(chunks[0][0], ms) for chunks, ms in samples if len(chunks) == 1 and not chunks[0][1]]
    a, b, _ = _least_squares([(x * x, x, 1) for x, _ in chunks], [ms for _, ms in chunks])

    def predict(chunks: list[tuple[int, int]]) -> float:
        return sum(a * ((h + x) ** 2 - h**2) + b * x for x, h in chunks)

    return predict


def online_form(samples: Sequence[Sample]) -> Callable[[list[tuple[int, int]]], float]:
    """Fitted to all samples of one chunk each."""
    chunks = [(*chunks[0], ms) for chunks, ms in samples if len(chunks) == 1]
    a, b, c = _least_squares(
        [(x * (x + h), x + h, 1) for x, h, _ in chunks], [ms for _, _, ms in chunks]
    )

    def predict(chunks: list[tuple[int, int]]) -> float:
        return sum(a * x * (x + h) + b * (x + h) for x, h in chunks) + c

    return predict


def _least_squares(
    rows: Sequence[tuple[float, float, float]], times_ms: Sequence[float]
) -> tuple[float, float, float]:
    solution, *_ = np.linalg.lstsq(np.asarray(rows, float), np.asarray(times_ms, float))
    a, b, c = (float(value) for value in solution)
    return a, b, c
