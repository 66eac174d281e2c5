"""How prompts of some lengths go through a pipeline: ours, the bound, and the best fixed size."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cpp_chunk._core import (
    LayerSplit,
    Plan,
    best_layer_split,
    default_layer_split,
    makespan_bound_ms,
    plan_chunks,
    plan_fixed_chunks,
)
from cpp_chunk.cli.shared.distributions import Constant, Lengths
from cpp_chunk.cli.shared.errors import CommandError, wrong_value
from cpp_chunk.cli.shared.fixed_sizes import fixed_sizes_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpp_chunk._core import LatencyModel
    from cpp_chunk.cli.shared.latency_source import Pipeline
    from cpp_chunk.cli.shared.limits import PlanLimits
    from cpp_chunk.cli.shared.values import LayerPartition

NUM_DRAWS = 10_000
_QUANTILES = (("p10", 0.1), ("p50", 0.5), ("p90", 0.9), ("max", 1.0))


@dataclass(frozen=True)
class PromptPlan:
    """One prompt's plan, and what it is to be compared with."""

    # Which one of a distribution; empty for the only one.
    name: str
    prompt_tokens: int
    plan: Plan
    # No steps, aligned or not, are faster: makespan_bound_ms.
    bound_ms: float
    best_fixed_tokens: int
    best_fixed: Plan
    layer_split: LayerSplit | None

    @property
    def gain(self) -> float:
        """Share of the best fixed size's time to first token that the plan saves."""
        return 1 - self.plan.makespan_ms / self.best_fixed.makespan_ms

    @property
    def layer_split_gain(self) -> float:
        """Share of the time to first token that another layer split would save."""
        split = self.layer_split
        return 1 - split.makespan_ms / split.makespan_before_ms if split else 0.0

    def to_json(self) -> dict[str, Any]:
        """All that is known, times in ms."""
        result: dict[str, Any] = {
            "name": self.name or None,
            "prompt_tokens": self.prompt_tokens,
            "target_ms": self.plan.target_ms,
            "step_targets_ms": self.plan.step_targets_ms,
            "chunks": self.plan.chunks,
            "ttft_ms": self.plan.makespan_ms,
            "bound_ms": self.bound_ms,
            "best_fixed": {
                "chunk_tokens": self.best_fixed_tokens,
                "ttft_ms": self.best_fixed.makespan_ms,
            },
            "gain": self.gain,
        }
        if self.layer_split is not None:
            result["layer_split"] = {
                "layers": self.layer_split.layers,
                "ttft_before_ms": self.layer_split.makespan_before_ms,
                "ttft_ms": self.layer_split.makespan_ms,
                "gain": self.layer_split_gain,
            }
        return result


def best_fixed_plan(
    stages: Sequence[LatencyModel],
    prompt_tokens: int,
    num_computed_tokens: int,
    limits: PlanLimits,
    max_in_flight: int | None = None,
) -> tuple[int, Plan]:
    """The fixed size with the earliest first token, and its plan.

    Of the sizes whose steps keep the limit on a step's time; the smallest, where none does.
    """
    plans = [
        (
            size,
            plan_fixed_chunks(
                stages,
                prompt_tokens,
                size,
                num_computed_tokens=num_computed_tokens,
                max_in_flight=max_in_flight,
            ),
        )
        for size in fixed_sizes_tokens(limits.max_chunk_tokens)
    ]
    kept = [sized for sized in plans if sized[1].target_ms <= limits.max_step_ms]
    return min(kept or plans[:1], key=lambda sized: sized[1].makespan_ms)


def plan_prompt(
    pipeline: Pipeline,
    limits: PlanLimits,
    prompt_tokens: int,
    *,
    name: str = "",
    num_computed_tokens: int = 0,
    max_in_flight: int | None = None,
    layers: Sequence[int] | None = None,
) -> PromptPlan:
    """Plans one prompt and compares.

    Args:
        pipeline: the stages.
        limits: of every chunk and step.
        prompt_tokens: the whole prompt.
        name: which one of a distribution.
        num_computed_tokens: of its front, found in the prefix cache.
        max_in_flight: steps scheduled that have not left the last stage; None for as many as
            stages.
        layers: of each stage as it was measured; None where unknown.
    """
    if num_computed_tokens >= prompt_tokens:
        raise wrong_value(
            "--num-computed-tokens",
            num_computed_tokens,
            f"less than the prompt, which has {prompt_tokens} tokens",
        )
    stages = pipeline.stages_with_gap
    plan = plan_chunks(
        stages,
        prompt_tokens,
        num_computed_tokens=num_computed_tokens,
        max_in_flight=max_in_flight,
        **limits.arguments,
    )
    left = [(prompt_tokens - num_computed_tokens, num_computed_tokens)]
    best_tokens, best = best_fixed_plan(
        stages, prompt_tokens, num_computed_tokens, limits, max_in_flight
    )
    split = None
    if layers is not None and not pipeline.is_even:
        split = best_layer_split(stages, prompt_tokens, layers, **limits.arguments)
    return PromptPlan(
        name, prompt_tokens, plan, makespan_bound_ms(stages, left), best_tokens, best, split
    )


def named_lengths(lengths: Lengths, seed: int) -> list[tuple[str, int]]:
    """The one length, or quantiles of many draws: p10, p50, p90 and the longest."""
    if isinstance(lengths, Constant):
        return [("", lengths.tokens)]
    generator = random.Random(seed)  # noqa: S311
    draws = sorted(lengths.draw(generator) for _ in range(NUM_DRAWS))
    return [(name, draws[round(share * (NUM_DRAWS - 1))]) for name, share in _QUANTILES]


def layers_of_stages(
    num_layers: int | None, partition: LayerPartition | None, num_stages: int
) -> list[int] | None:
    """Layers of each stage: as given, or as vLLM splits them; None where nothing is known.

    Raises:
        CommandError: the two contradict each other or the number of stages.
    """
    if partition is not None:
        if len(partition.layers) != num_stages:
            raise wrong_value(
                "--layer-partition", str(partition), f"{num_stages} numbers, one for each stage"
            )
        if num_layers is not None and sum(partition.layers) != num_layers:
            raise wrong_value(
                "--layer-partition", str(partition), f"numbers whose sum is --layers {num_layers}"
            )
        return list(partition.layers)
    if num_layers is None:
        return None
    if num_layers < num_stages:
        raise CommandError(
            f"--layers is {num_layers}: allowed is a whole number from {num_stages}, "
            "one layer a stage."
        )
    return list(default_layer_split(num_layers, num_stages))
