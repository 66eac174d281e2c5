"""Our figures on vLLM's `/metrics` page, under the prefix `cpp_chunk:`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import REGISTRY
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from cpp_chunk.records.status import make_status_file, read_status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class EngineCollector(Collector):
    """Reads the engine core's file when somebody asks for the page.

    Args:
        path: the file that the engine core writes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def collect(self) -> Iterator[Metric]:
        """Yields the metric families; times in seconds, as Prometheus wants them."""
        status = read_status(self._path)
        fallbacks = CounterMetricFamily(
            "cpp_chunk:fallbacks",
            "Times that dynamic chunks were switched off, by what failed.",
            labels=["reason"],
        )
        for reason, count in status.fallbacks.items():
            fallbacks.add_metric([reason], count)
        yield fallbacks
        yield CounterMetricFamily(
            "cpp_chunk:measured_steps",
            "Steps whose compute time came in from every stage.",
            value=status.measured_steps,
        )
        skipped = CounterMetricFamily(
            "cpp_chunk:skipped_steps",
            "Steps whose time could not be attributed to what they held, by why not.",
            labels=["reason"],
        )
        for reason, count in status.skipped_steps.items():
            skipped.add_metric([reason], count)
        yield skipped
        yield CounterMetricFamily(
            "cpp_chunk:refits", "Times the latency model was refitted.", value=status.refits
        )
        yield CounterMetricFamily(
            "cpp_chunk:drifts",
            "Times that a stage's steps drifted from its model and the model followed.",
            value=status.drifts,
        )
        yield SummaryMetricFamily(
            "cpp_chunk:prediction_error_ratio",
            "Relative error of the step time predicted for a step with prefill, when scheduled.",
            count_value=status.prediction_errors,
            sum_value=status.prediction_error_sum,
        )
        yield GaugeMetricFamily(
            "cpp_chunk:dynamic",
            "1 while chunks are dynamic, 0 while they are fixed.",
            value=status.target_ms is not None,
        )
        yield GaugeMetricFamily(
            "cpp_chunk:profile_passes",
            "Real passes that the start-up profile took, probes included.",
            value=status.profile_passes,
        )
        yield GaugeMetricFamily(
            "cpp_chunk:profile_seconds",
            "Time that the start-up profile took.",
            value=status.profile_s,
        )
        if status.target_ms is not None:
            yield GaugeMetricFamily(
                "cpp_chunk:target_seconds",
                "Step time that chunks aim at.",
                value=status.target_ms / 1e3,
            )
        if status.mean_relative_error is not None:
            yield GaugeMetricFamily(
                "cpp_chunk:model_error_ratio",
                "Mean relative error of the latency model on what it was fitted to.",
                value=status.mean_relative_error,
            )


_registered = False


def register_metrics() -> None:
    """Adds the collector to the default registry, once a process."""
    global _registered  # noqa: PLW0603
    if not _registered:
        REGISTRY.register(EngineCollector(make_status_file()))
        _registered = True
