"""Policies on the same requests and the same pipeline, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cpp_chunk._core import SimulatedPipeline, SimulatedRequest, SimulationResult, simulate
from cpp_chunk.cli.shared.console import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpp_chunk._core import Distribution
    from cpp_chunk.cli.simulate.policies import PolicyMaker, PolicySetting


@dataclass(frozen=True)
class PolicyRun:
    """What one policy did, at the best of the settings that were tried."""

    setting: PolicySetting
    # Mean time to first token of every setting tried, where there were several.
    tried_ms: tuple[tuple[PolicySetting, float], ...]
    result: SimulationResult

    @property
    def label(self) -> str:
        """Name and base."""
        return self.setting.label

    def to_json(self) -> dict[str, Any]:
        """All that was measured, times in ms."""
        result = self.result
        return {
            "policy": self.setting.name,
            "base_tokens": self.setting.base_tokens,
            "tried": [
                {"base_tokens": setting.base_tokens, "mean_ttft_ms": ttft_ms}
                for setting, ttft_ms in self.tried_ms
            ],
            "ttft_ms": _distribution_json(result.ttft_ms),
            "inter_token_ms": _distribution_json(result.inter_token_ms),
            "prompt_tokens_per_s": result.prompt_tokens_per_s,
            "output_tokens_per_s": result.output_tokens_per_s,
            "bubble_share": list(result.bubble_share),
            "makespan_ms": result.makespan_ms,
            "num_steps": result.num_steps,
        }


def _distribution_json(distribution: Distribution) -> dict[str, float | int] | None:
    # Of no values there is no mean: a 0 would read as one.
    if not distribution.count:
        return None
    return {
        name: getattr(distribution, name) for name in ("count", "mean", "p50", "p90", "p99", "max")
    }


def compare_policies(
    pipeline: SimulatedPipeline,
    requests: Sequence[SimulatedRequest],
    policies: Sequence[PolicySetting],
    maker: PolicyMaker,
    *,
    record_steps: bool,
) -> list[PolicyRun]:
    """Runs every policy; one whose base is open runs at each, and the lowest mean TTFT counts.

    Args:
        pipeline: the stages and limits.
        requests: the same for all.
        policies: what to compare.
        maker: makes the policies.
        record_steps: whether the results hold every step, as pictures need them.
    """
    settings = [maker.settings(policy) for policy in policies]
    runs = []
    # What is drawn runs once more when it is known which base is best: steps of all would fill
    # the memory.
    with progress(sum(map(len, settings)) + record_steps * len(settings)) as begin:
        for choices in settings:
            results = []
            for choice in choices:
                begin(choice.label)
                results.append((choice, simulate(pipeline, requests, maker.make(choice))))
            best, result = min(results, key=lambda tried: tried[1].ttft_ms.mean)
            if record_steps:
                begin(best.label)
                result = simulate(pipeline, requests, maker.make(best), record_steps=True)
            tried_ms = tuple((choice, one.ttft_ms.mean) for choice, one in results)
            runs.append(PolicyRun(best, tried_ms if len(tried_ms) > 1 else (), result))
    return runs
