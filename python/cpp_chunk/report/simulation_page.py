"""A comparison of policies as one HTML file: pipelines in time, and when first tokens came."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from cpp_chunk.report.gantt import Bar, Chart, Figure, Span, gantt_figure
from cpp_chunk.report.look import FONT, HAIRLINE, IDLE_FILL, IDLE_HATCH, INK, MUTED, POLICY_TINTS
from cpp_chunk.report.page import (
    figure_html,
    models_table_html,
    page_style,
    plotly_js,
    table_html,
)
from cpp_chunk.report.words import duration, grouped, percent, prompt_tokens_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpp_chunk._core import LatencyModel, SimulatedStep, SimulationResult

_PAGE_PATH = Path(__file__).with_name("simulation_page.html")

# Of more steps than this only the first are drawn: all would be thinner than can be told apart.
_MAX_STEPS = 400
_FIRST_STEPS = 160
_MAX_POINTS = 400
_MAX_CHUNKS_IN_HOVER = 4
# A line that ends at the axis' end would seem to go on.
_AXIS_END = 1.03
_DASHES = ("solid", "dash", "dot", "dashdot")


@dataclass(frozen=True)
class PolicyPicture:
    """One policy's simulation.

    Args:
        label: its name and base.
        name: its name alone, that colours follow.
        result: with its steps recorded.
    """

    label: str
    name: str
    result: SimulationResult


@dataclass(frozen=True)
class SimulationPage:
    """What the page shows."""

    policies: tuple[PolicyPicture, ...]
    # One a stage, without the gap.
    stages: tuple[LatencyModel, ...]
    gap_ms: float
    prompt_tokens: int
    # Of these, found in the prefix cache.
    cached_tokens: int
    # The table of all policies, as text.
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    # What the table's figures mean and which settings were tried, as sentences.
    note: str

    @property
    def num_requests(self) -> int:
        """How many were simulated."""
        return len(self.policies[0].result.requests)


def write_simulation_page(path: Path, page: SimulationPage) -> None:
    """Writes the page as one HTML file.

    Raises:
        MissingPlotlyError: plotly is not installed.
        OSError: the file cannot be written.
    """
    text = simulation_html(page)
    path.write_text(text, encoding="utf-8")


def simulation_html(page: SimulationPage) -> str:
    """The whole page."""
    end_s = window_s(page.policies)
    longest_s = max(policy.result.makespan_ms for policy in page.policies) / 1e3
    window = "" if end_s >= longest_s else f"the first {end_s:.3g} s of {longest_s:.3g} s"
    charts = [chart(policy, end_s) for policy in page.policies]
    tokens = prompt_tokens_text(page.prompt_tokens, page.cached_tokens)
    requests = (
        f"One request with {tokens}"
        if page.num_requests == 1
        else f"{grouped(page.num_requests)} requests with {tokens}"
    )
    stages = "1 stage" if len(page.stages) == 1 else f"{len(page.stages)} pipeline stages"
    return Template(_PAGE_PATH.read_text(encoding="utf-8")).substitute(
        style=page_style(),
        plotly_js=plotly_js(),
        idle=IDLE_FILL,
        hatch=IDLE_HATCH,
        headline=html.escape(headline(page.policies)),
        lead=f"{requests}, simulated on {stages}.",
        key=_key(page.policies),
        window=window,
        gantt=figure_html(gantt_figure(charts, 1.02 * end_s, "seconds since the first arrival")),
        distribution_note=""
        if page.num_requests == 1
        else "share of requests that have it by then",
        distribution=figure_html(ttft_figure(page.policies)),
        summary=table_html(page.headings, page.rows),
        note=html.escape(page.note),
        end_note="; a black line is the end of a run"
        if any(one.end_label is not None for one in charts)
        else "",
        alike=alike_html(page.policies),
        model=models_table_html(page.stages),
        gap=f"Between two steps the engine needs another {page.gap_ms:.4g} ms on every stage.",
    )


def alike_html(policies: Sequence[PolicyPicture]) -> str:
    """Which policies did the same: of their lines only the last drawn can be seen."""
    same: dict[tuple[tuple[float, float], ...], list[str]] = {}
    for policy in policies:
        times = tuple((one.first_token_ms, one.end_ms) for one in policy.result.requests)
        same.setdefault(times, []).append(policy.label)
    hides = "" if len(policies[0].result.requests) == 1 else ": one line stands for them"
    sentences = [
        f"{', '.join(labels[:-1])} and {labels[-1]} have the same results{hides}."
        for labels in same.values()
        if len(labels) > 1
    ]
    return f'<p class="note">{html.escape(" ".join(sentences))}</p>' if sentences else ""


def headline(policies: Sequence[PolicyPicture]) -> str:
    """Our policy against the best of the others, where both are there."""
    dynamic = next((policy for policy in policies if policy.name == "dynamic"), None)
    others = [policy for policy in policies if policy.name != "dynamic"]
    if dynamic is None or not others:
        return "Time to first token, simulated"
    other = min(others, key=lambda policy: policy.result.ttft_ms.mean)
    ours_ms, other_ms = dynamic.result.ttft_ms.mean, other.result.ttft_ms.mean
    change = ours_ms / other_ms - 1
    words = percent(abs(change), 1)
    direction = "sooner than" if change < 0 else "later than"
    against = f"{words} {direction}" if words != percent(0, 1) else "the same as"
    return (
        f"Mean time to first token {duration(ours_ms)} with dynamic chunks, {against} the best of "
        f"the others ({other.label})"
    )


def window_s(policies: Sequence[PolicyPicture]) -> float:
    """How much is drawn: all of it, or as long as no policy has too many steps to see."""
    longest_ms = max(policy.result.makespan_ms for policy in policies)
    ends_ms = [
        policy.result.steps[_FIRST_STEPS].stage_spans_ms[0][0] - _first_start_ms(policy)
        for policy in policies
        if len(policy.result.steps) > _MAX_STEPS
    ]
    return min([longest_ms, *ends_ms]) / 1e3


def chart(policy: PolicyPicture, end_s: float) -> Chart:
    """A policy's pipeline until `end_s`."""
    result = policy.result
    first_ms = _first_start_ms(policy)
    makespan_s = result.makespan_ms / 1e3
    lanes: list[list[Bar]] = [[] for _ in result.bubble_share]
    for index, step in enumerate(result.steps):
        for stage, (start_ms, stage_end_ms) in enumerate(step.stage_spans_ms):
            span = Span((start_ms - first_ms) / 1e3, (stage_end_ms - first_ms) / 1e3)
            if span.start_s < end_s:
                lanes[stage].append(_bar(step, index, stage, span))
    num_steps = result.num_steps
    noun = "step" if num_steps == 1 else "steps"
    is_whole = makespan_s <= end_s
    ttft = "first token" if len(result.requests) == 1 else "mean TTFT"
    return Chart(
        name=policy.label,
        caption=f"{num_steps} {noun}, {ttft} {duration(result.ttft_ms.mean)}",
        tints=POLICY_TINTS[policy.name],
        lanes=tuple(tuple(lane) for lane in lanes),
        end_s=makespan_s if is_whole else end_s,
        end_label="" if is_whole else None,
    )


def _first_start_ms(policy: PolicyPicture) -> float:
    """When the picture begins: with the first arrival, as the makespan does."""
    return min(request.arrival_ms for request in policy.result.requests)


def _bar(step: SimulatedStep, index: int, stage: int, span: Span) -> Bar:
    chunks = step.chunks
    num_tokens = sum(tokens for _, tokens, _ in chunks)
    lines = [
        f"request {request}: {tokens} tokens after {computed}"
        for request, tokens, computed in chunks[:_MAX_CHUNKS_IN_HOVER]
    ]
    if len(chunks) > _MAX_CHUNKS_IN_HOVER:
        lines.append(f"and {len(chunks) - _MAX_CHUNKS_IN_HOVER} more")
    hover = (
        f"<b>step {index + 1}</b> on stage {stage}, {1e3 * span.length_s:.1f} ms<br>"
        + "<br>".join(lines)
        + f"<br>from {span.start_s:.3f} s to {span.end_s:.3f} s"
    )
    return Bar(span, str(num_tokens), hover)


def ttft_figure(policies: Sequence[PolicyPicture]) -> Figure:
    """The share of requests that have their first token by a time; one request: a bar each."""
    if len(policies[0].result.requests) == 1:
        return _ttft_bars(policies)
    traces: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for policy in policies:
        seconds = sorted(
            (request.first_token_ms - request.arrival_ms) / 1e3
            for request in policy.result.requests
        )
        count = len(seconds)
        # Evenly in share, the first and the last among them.
        kept = sorted({round(i * (count - 1) / _MAX_POINTS) for i in range(_MAX_POINTS + 1)})
        dash = _DASHES[seen.setdefault(policy.name, 0) % len(_DASHES)]
        seen[policy.name] += 1
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": policy.label,
                "x": [seconds[0], *(seconds[index] for index in kept)],
                "y": [0.0, *(100 * (index + 1) / count for index in kept)],
                "line": {
                    "color": POLICY_TINTS[policy.name][0],
                    "width": 3 if policy.name == "dynamic" else 1.8,
                    "shape": "hv",
                    "dash": dash,
                },
                "hovertemplate": f"{policy.label}<br>%{{y:.0f}} % by %{{x:.3g}} s<extra></extra>",
            }
        )
    longest_s = max(policy.result.ttft_ms.max for policy in policies) / 1e3
    title_font = {"color": MUTED}
    return {
        "data": traces,
        "layout": {
            **_layout(360),
            "xaxis": {
                **_axis(),
                "range": [0, _AXIS_END * longest_s],
                "title": {"text": "time to first token, s", "font": title_font},
            },
            "yaxis": {
                **_axis(),
                "range": [0, 102],
                "ticksuffix": " %",
                "title": None,
            },
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        },
    }


def _ttft_bars(policies: Sequence[PolicyPicture]) -> Figure:
    seconds = [policy.result.ttft_ms.mean / 1e3 for policy in policies]
    title = {"text": "time to first token, s", "font": {"color": MUTED}}
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "y": [policy.label for policy in policies],
                "x": seconds,
                "text": [f"{one_s:.2f} s" for one_s in seconds],
                "textposition": "inside",
                "insidetextanchor": "end",
                "textfont": {"color": "white", "size": 12},
                "hoverinfo": "skip",
                "marker": {"color": [POLICY_TINTS[policy.name][0] for policy in policies]},
            }
        ],
        "layout": {
            **_layout(66 + 34 * len(policies)),
            "bargap": 0.3,
            "xaxis": {**_axis(), "rangemode": "tozero", "title": title},
            "yaxis": {
                **_axis(),
                "autorange": "reversed",
                "automargin": True,
                "showgrid": False,
                "ticksuffix": "  ",
            },
            "showlegend": False,
        },
    }


def _layout(height_px: int) -> dict[str, Any]:
    return {
        "height": height_px,
        "margin": {"l": 56, "r": 16, "t": 12, "b": 44},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 12, "color": INK},
        "hoverlabel": {"bgcolor": "white", "bordercolor": HAIRLINE, "font": {"family": FONT}},
    }


def _axis() -> dict[str, Any]:
    return {"gridcolor": HAIRLINE, "zeroline": False, "fixedrange": True}


def _key(policies: Sequence[PolicyPicture]) -> str:
    return "".join(
        f'<span><i style="background:{POLICY_TINTS[policy.name][0]}"></i>'
        f"{html.escape(policy.label)}</span>"
        for policy in policies
    )
