"""A plan in the terminal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from cpp_chunk.cli.plan.prompt_plan import NUM_DRAWS
from cpp_chunk.cli.shared.tables import print_table
from cpp_chunk.report.words import chunk_list, duration, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from cpp_chunk.cli.plan.prompt_plan import PromptPlan

_MAX_GROUPS = 18
# Where the values stand, beside their names.
_INDENT = 19
# Steps whose targets differ by less are of equal time.
_EQUAL_SHARE = 1e-3
# The columns of a distribution's table, by what they are about.
_QUANTILE_GROUPS = (
    ("", "prompt", "target", "chunks", "first to last"),
    ("TTFT", "bound", "best fixed size", "TTFT saved"),
)


def print_plan(console: Console, plan: PromptPlan, num_computed_tokens: int) -> None:
    """One prompt's plan."""
    cached = f", {num_computed_tokens} of them computed" if num_computed_tokens else ""
    console.print(f"\n[bold]{plan.prompt_tokens} tokens[/]{cached}")
    num_chunks = len(plan.plan.chunks)
    noun = "chunk" if num_chunks == 1 else "chunks"
    ttft_ms, best_ms = plan.plan.makespan_ms, plan.best_fixed.makespan_ms
    over_bound, under_best = _against(ttft_ms, plan.bound_ms), _against(ttft_ms, best_ms)
    rows = [
        ("target", _target_text(plan.plan.step_targets_ms, plan.plan.target_ms)),
        (noun, f"{num_chunks}: {chunk_list(plan.plan.chunks, _MAX_GROUPS)}"),
        ("TTFT predicted", duration(ttft_ms)),
        (
            "bound",
            f"{duration(plan.bound_ms)}, whatever the chunks; the plan is {over_bound}",
        ),
        (
            "best fixed size",
            f"{plan.best_fixed_tokens} tokens: {duration(best_ms)}; the plan is {under_best}",
        ),
    ]
    for name, text in rows:
        # "3 x 512" stays on one line: textwrap breaks at plain spaces only.
        kept = text.replace(" x ", "\u00a0x\u00a0")
        lines = textwrap.wrap(kept, console.width - _INDENT, break_long_words=False)
        lines = [line.replace("\u00a0", " ") for line in lines]
        console.print(f"  {name:<{_INDENT - 2}}" + f"\n{' ' * _INDENT}".join(lines), soft_wrap=True)


def print_plans(
    console: Console, plans: Sequence[PromptPlan], distribution: str, seed: int
) -> None:
    """A row for each length of a distribution."""
    rows = []
    for plan in plans:
        chunks = plan.plan.chunks
        rows.append(
            (
                plan.name,
                f"{plan.prompt_tokens}",
                _target_text(plan.plan.step_targets_ms, plan.plan.target_ms),
                f"{len(chunks)}",
                f"{chunks[0]} to {chunks[-1]}" if len(chunks) > 1 else f"{chunks[0]}",
                duration(plan.plan.makespan_ms),
                duration(plan.bound_ms),
                f"{plan.best_fixed_tokens}: {duration(plan.best_fixed.makespan_ms)}",
                percent(plan.gain, 1),
            )
        )
    console.print()
    title = f"{distribution}: quantiles of {NUM_DRAWS} draws, seed {seed}"
    print_table(console, title, _QUANTILE_GROUPS, rows)


def print_layer_split(console: Console, plan: PromptPlan, layers: Sequence[int]) -> None:
    """Which split of the layers would even the stages out, if any does."""
    split = plan.layer_split
    if split is None:
        return
    now = ",".join(map(str, layers))
    if list(split.layers) == list(layers):
        console.print(f"\n[bold]layers[/] {now}: no other split is better")
        return
    better = ",".join(map(str, split.layers))
    console.print(
        f"\n[bold]layers[/] {now} now; [bold]VLLM_PP_LAYER_PARTITION={better}[/] would bring the "
        f"TTFT of {plan.prompt_tokens} tokens from {duration(split.makespan_before_ms)} to "
        f"{duration(split.makespan_ms)} ({percent(plan.layer_split_gain, 1)} sooner)",
        soft_wrap=True,
    )


def _target_text(step_targets_ms: Sequence[float], target_ms: float) -> str:
    """One step time, or from which to which they ramp."""
    if step_targets_ms and max(step_targets_ms) > (1 + _EQUAL_SHARE) * min(step_targets_ms):
        return f"{duration(step_targets_ms[0])} to {duration(step_targets_ms[-1])}"
    return duration(target_ms)


def _against(time_ms: float, other_ms: float) -> str:
    """By how much one time is below or above another."""
    if other_ms <= 0:
        return "the same"
    change = time_ms / other_ms - 1
    words = percent(abs(change), 1)
    if words == percent(0, 1):
        return "the same"
    return f"{words} {'sooner' if change < 0 else 'later'}"
