"""Our figures off a server's Prometheus page."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

_PREFIX = "cpp_chunk:"
_ERROR = f"{_PREFIX}prediction_error_ratio"


class NoFiguresError(ValueError):
    """The page does not have them. The message completes "allowed is ..."."""


@dataclass(frozen=True)
class ServerFigures:
    """One reading of the page; of several engines, together. None: not on the page.

    Args:
        error_ratio_sum: of |predicted / measured - 1| of all steps that were measured.
        measured_steps: how many those are.
        refits: times the latency model was refitted.
        is_dynamic: whether chunks are dynamic, on every engine.
    """

    error_ratio_sum: float
    measured_steps: int
    refits: int | None
    is_dynamic: bool | None

    def mean_error_since(self, before: ServerFigures) -> float | None:
        """Mean prediction error of the steps between two readings; None where there were none."""
        steps = self.steps_since(before)
        return (self.error_ratio_sum - before.error_ratio_sum) / steps if steps else None

    def steps_since(self, before: ServerFigures) -> int:
        """Steps measured between two readings."""
        # Fewer than before: the server was started anew in between.
        return max(self.measured_steps - before.measured_steps, 0)


def read_figures(page: str) -> ServerFigures:
    """Reads the page.

    Raises:
        NoFiguresError: the plugin is not switched on there, or is older than this command.
    """
    samples: dict[str, list[float]] = defaultdict(list)
    try:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name.startswith(_PREFIX):
                    samples[sample.name].append(sample.value)
    except ValueError:
        raise NoFiguresError("a server whose /metrics is a Prometheus page") from None
    if not samples:
        raise NoFiguresError(
            "a server where cpp-chunk is switched on (profiling_chunk_config.enabled): this one's "
            "/metrics page has no cpp_chunk figures"
        )
    counts, sums = samples.get(f"{_ERROR}_count"), samples.get(f"{_ERROR}_sum")
    if not counts or not sums:
        raise NoFiguresError(
            f"a server whose cpp-chunk shows {_ERROR} on /metrics: the one there is too old"
        )
    refits = samples.get(f"{_PREFIX}refits_total")
    dynamic = samples.get(f"{_PREFIX}dynamic")
    return ServerFigures(
        error_ratio_sum=sum(sums),
        measured_steps=round(sum(counts)),
        refits=round(sum(refits)) if refits else None,
        is_dynamic=all(dynamic) if dynamic else None,
    )
