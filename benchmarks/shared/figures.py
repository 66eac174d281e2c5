"""The figures that the project promises: from measured times to rows that hold or do not hold."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.engine.workload import Mode

# An engine in the tables below: its mode and its max_num_batched_tokens.
EngineKey = tuple["Mode", int]

SWEEP_TOKENS = (512, 1024, 2048, 4096)
DYNAMIC_TOKENS = (1024, 4096, 16384)
UNTUNED_TOKENS = 16384

MAX_SHARE_OF_BEST_FIXED = 1.05
# At the same budget, where the fixed chunk has not been tuned.
MAX_SHARE_OF_SAME_FIXED = {16384: 0.60, 4096: 0.82}
MIN_THROUGHPUT_SHARE = 0.98
MAX_ADDED_SCHEDULE_US = 10.0
MAX_NATIVE_SOLVE_US = 1.0
MAX_BINDING_SOLVE_US = 3.0
MAX_MODEL_ERROR = 0.04
MAX_TTFT_PREDICTION_ERROR = 0.06


@dataclass(frozen=True)
class Figure:
    """One row of the result: a value against its limit."""

    figure: str
    value: float
    limit: float
    command: str
    # Most values must stay below their limit.
    is_lower_bound: bool = False
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether the promise is kept. NaN, from a measurement that failed, is not."""
        return self.value >= self.limit if self.is_lower_bound else self.value <= self.limit

    def to_json(self) -> dict[str, Any]:
        """The row as it is written."""
        return {
            "figure": self.figure,
            "value": self.value,
            "limit": self.limit,
            "holds": self.holds,
            "is_lower_bound": self.is_lower_bound,
            "command": self.command,
            **self.details,
        }


def median_ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """Median of the ratios turn by turn: what the machine did in a turn falls on both."""
    return statistics.median(a / b for a, b in zip(values, others, strict=True))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Smallest, median and largest."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def spreads(times: Mapping[EngineKey, Sequence[float]]) -> dict[str, dict[str, float]]:
    """The spread of each engine, by a readable name."""
    return {f"{mode} {tokens}": spread(values) for (mode, tokens), values in times.items()}


def best_fixed_tokens(ttfts_s: Mapping[EngineKey, Sequence[float]]) -> int:
    """The chunk of the sweep with the lowest median time to first token."""
    return min(SWEEP_TOKENS, key=lambda tokens: statistics.median(ttfts_s["fixed", tokens]))


def ttft_figures(ttfts_s: Mapping[EngineKey, Sequence[float]], command: str) -> list[Figure]:
    """Dynamic chunks against the best fixed size of the sweep, and against the same budget's."""
    best_tokens = best_fixed_tokens(ttfts_s)
    against_best = [
        _ttft_ratio(
            f"TTFT, dynamic at {tokens} / best fixed of the sweep",
            ttfts_s,
            (tokens, best_tokens),
            MAX_SHARE_OF_BEST_FIXED,
            command,
        )
        for tokens in DYNAMIC_TOKENS
    ]
    against_same = [
        _ttft_ratio(
            f"TTFT, dynamic at {tokens} / fixed {tokens}", ttfts_s, (tokens, tokens), limit, command
        )
        for tokens, limit in MAX_SHARE_OF_SAME_FIXED.items()
    ]
    return against_best + against_same


def _ttft_ratio(
    name: str,
    ttfts_s: Mapping[EngineKey, Sequence[float]],
    dynamic_and_fixed_tokens: tuple[int, int],
    limit: float,
    command: str,
) -> Figure:
    dynamic_tokens, fixed_tokens = dynamic_and_fixed_tokens
    dynamic_s, fixed_s = ttfts_s["dynamic", dynamic_tokens], ttfts_s["fixed", fixed_tokens]
    return Figure(
        name,
        median_ratio(dynamic_s, fixed_s),
        limit,
        command,
        details={
            "dynamic_ttft_s": spread(dynamic_s),
            "fixed_ttft_s": spread(fixed_s),
            "fixed_chunk_tokens": fixed_tokens,
        },
    )


def prediction_figure(
    engine: EngineKey,
    predicted_ms: Mapping[int, Sequence[float]],
    measured_ms: Mapping[int, Sequence[float]],
    command: str,
) -> Figure:
    """Predicted time to first token against measured: the prompt length that is furthest off.

    Of each length the median over turns of predicted / measured.
    """
    ratios = {
        tokens: median_ratio(predicted_ms[tokens], measured_ms[tokens]) for tokens in predicted_ms
    }
    mode, budget_tokens = engine
    return Figure(
        f"predicted / measured TTFT, {mode} at {budget_tokens}, furthest from 1",
        max((abs(ratio - 1) for ratio in ratios.values()), default=math.nan),
        MAX_TTFT_PREDICTION_ERROR,
        command,
        details={
            f"prompt_{tokens}": {
                "predicted_over_measured": ratio,
                "measured_ms": spread(measured_ms[tokens]),
            }
            for tokens, ratio in sorted(ratios.items())
        },
    )


def throughput_figures(
    tokens_per_s: Mapping[EngineKey, Sequence[float]], command: str
) -> list[Figure]:
    """Tokens a second of prompts in flight together: dynamic against the best fixed size."""
    best_tokens = max(SWEEP_TOKENS, key=lambda t: statistics.median(tokens_per_s["fixed", t]))
    best = tokens_per_s["fixed", best_tokens]
    return [
        Figure(
            f"tokens/s of four prompts in flight, dynamic at {tokens} / best fixed",
            median_ratio(tokens_per_s["dynamic", tokens], best),
            MIN_THROUGHPUT_SHARE,
            command,
            is_lower_bound=True,
            details={
                "dynamic_tokens_per_s": spread(tokens_per_s["dynamic", tokens]),
                "fixed_tokens_per_s": spread(best),
                "fixed_chunk_tokens": best_tokens,
            },
        )
        for tokens in DYNAMIC_TOKENS
    ]


def equality_figure(
    token_ids: Mapping[EngineKey, tuple[tuple[int, ...], ...]], command: str
) -> Figure:
    """Generated tokens that differ from the untuned fixed chunk's, over all dynamic engines."""
    expected = token_ids["fixed", UNTUNED_TOKENS]
    differing = {
        f"{mode} {tokens}": sum(
            a != b
            for expected_ids, ids in zip(expected, generated, strict=True)
            for a, b in zip(expected_ids, ids, strict=True)
        )
        for (mode, tokens), generated in token_ids.items()
    }
    return Figure(
        "generated tokens that differ, dynamic against fixed, greedy float32",
        sum(differing[f"dynamic {tokens}"] for tokens in DYNAMIC_TOKENS),
        0,
        command,
        details={
            "num_tokens_each": sum(len(ids) for ids in expected),
            "differing_from_fixed_16384": differing,
            "first_tokens": list(expected[0][:8]),
        },
    )
