"""The demo's report: one HTML file that needs nothing else, with the pipeline drawn in time.

The figures are plain plotly dictionaries, so that what is drawn can be tested without a browser.
"""

from __future__ import annotations

import html
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from cpp_chunk.report.gantt import Bar, Chart, Figure, Span, gantt_figure
from cpp_chunk.report.look import (
    DYNAMIC_TINTS,
    FIXED_TINTS,
    FONT,
    HAIRLINE,
    IDLE_FILL,
    IDLE_HATCH,
    INK,
    MUTED,
    Tints,
)
from cpp_chunk.report.page import (
    figure_html,
    models_table_html,
    page_style,
    plotly_js,
    table_html,
)
from cpp_chunk.report.words import chunk_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.engine.pipeline_view import EngineView, PipelineRound
    from benchmarks.engine.workload import Mode

PAGE_PATH = Path(__file__).with_name("report_page.html")

CHUNK_TINTS: dict[Mode, Tints] = {"fixed": FIXED_TINTS, "dynamic": DYNAMIC_TINTS}

# Of two chunks, the last is always "but the rest".
_MIN_EQUAL_CHUNKS = 3

PREDICTION_TICKS_MS = [m * 10**e for e in range(6) for m in (1, 2, 5)]


@dataclass(frozen=True)
class ReportData:
    """What the report shows."""

    prompt_tokens: int
    engines: tuple[EngineView, ...]
    # Name and value, in the order in which they are shown.
    environment: tuple[tuple[str, str], ...] = ()

    def engine(self, mode: Mode, max_num_batched_tokens: int) -> EngineView | None:
        """The engine of this mode and budget, if it was run."""
        for view in self.engines:
            if (view.mode, view.max_num_batched_tokens) == (mode, max_num_batched_tokens):
                return view
        return None

    @property
    def budgets_tokens(self) -> tuple[int, ...]:
        """Budgets that were run, the largest first."""
        return tuple(sorted({view.max_num_batched_tokens for view in self.engines}, reverse=True))


def busy_spans(pipeline: PipelineRound, stage: int) -> list[Span]:
    """When a stage computed, one span a step."""
    return [
        Span(
            step.stages[stage].start_s - pipeline.start_s,
            step.stages[stage].end_s - pipeline.start_s,
        )
        for step in pipeline.steps
        if stage < len(step.stages)
    ]


def comparison(before_s: float, after_s: float) -> str:
    """Two times to first token, and in words by how much the second is sooner or later."""
    change = after_s / before_s - 1
    percent = f"{abs(change):.0%}".replace("%", " %")
    direction = "sooner" if change < 0 else "later"
    words = "the same" if percent == "0 %" else f"{percent} {direction}"
    return f"{before_s:.2f} s → {after_s:.2f} s, {words}"


def median_ttft_s(view: EngineView) -> float:
    """Median time to first token."""
    return statistics.median(view.ttfts_s)


def chart(view: EngineView) -> Chart:
    """An engine's median round as it is drawn."""
    pipeline = view.median_round
    num_chunks = len(pipeline.steps)
    noun = "chunk" if num_chunks == 1 else "chunks"
    shares = " and ".join(f"{share:.0%}".replace("%", " %") for share in pipeline.stage_busy_share)
    busy = f", stages busy {shares} of the time" if shares else ""
    return Chart(
        name=f"{view.mode} chunks",
        caption=f"{num_chunks} {noun}{busy}",
        tints=CHUNK_TINTS[view.mode],
        lanes=tuple(lane(pipeline, stage) for stage in range(pipeline.num_stages)),
        end_s=pipeline.ttft_s,
        end_label=f"first token <b>{pipeline.ttft_s:.2f} s</b>",
    )


def lane(pipeline: PipelineRound, stage: int) -> tuple[Bar, ...]:
    """The chunks on one stage."""
    bars = []
    busy = busy_spans(pipeline, stage)
    for index, (step, span) in enumerate(zip(pipeline.steps, busy, strict=False)):
        history = min(chunk.num_computed_tokens for chunk in step.chunks)
        predicted = "—" if step.predicted_ms is None else f"{step.predicted_ms:.1f} ms"
        hover = (
            f"<b>chunk {index + 1} of {len(pipeline.steps)}</b> on stage {stage}<br>"
            f"{step.num_tokens} tokens after {history}<br>"
            f"measured {step.stages[stage].compute_ms:.1f} ms, predicted {predicted}<br>"
            f"from {span.start_s:.3f} s to {span.end_s:.3f} s"
        )
        bars.append(Bar(span, str(step.num_tokens), hover))
    return tuple(bars)


def one_size_html(dynamic: EngineView | None) -> str:
    """Why dynamic chunks are of one size, where they are; a smaller last one is but the rest."""
    chunks = dynamic.median_round.chunks if dynamic is not None else ()
    sizes = set(chunks[:-1])
    if len(chunks) < _MIN_EQUAL_CHUNKS or len(sizes) > 1 or chunks[-1] > chunks[0]:
        return ""
    return (
        f"<p class='note'>The dynamic chunks here are of one size, {chunks[0]} tokens: chunks end "
        "on whole KV blocks (of 128 tokens on a CPU), and where these are too coarse for steps of "
        "equal time, the plan is the fixed size that is best.</p>"
    )


def pipelines_figure(views: Sequence[EngineView], axis_end_s: float) -> Figure:
    """The median rounds of some engines, the uppermost first."""
    charts = [chart(view) for view in views]
    return gantt_figure(charts, axis_end_s, "seconds since the prompt came in")


def prediction_figure(engines: Sequence[EngineView]) -> Figure:
    """Each step's predicted time against the measured one, both in ms."""
    traces: list[dict[str, Any]] = []
    shortest_ms, longest_ms = math.inf, 0.0
    for mode, (colour, _) in CHUNK_TINTS.items():
        points = [
            (step.measured_ms, step.predicted_ms, step.num_tokens)
            for view in engines
            if view.mode == mode
            for pipeline in view.rounds
            for step in pipeline.steps
            if step.predicted_ms is not None
        ]
        if not points:
            continue
        shortest_ms = min(shortest_ms, *(min(point[:2]) for point in points))
        longest_ms = max(longest_ms, *(max(point[:2]) for point in points))
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{mode} chunks",
                "x": [measured_ms for measured_ms, _, _ in points],
                "y": [predicted_ms for _, predicted_ms, _ in points],
                "hovertemplate": [
                    f"{num_tokens} tokens<br>measured {measured_ms:.1f} ms<br>"
                    f"predicted {predicted_ms:.1f} ms<extra></extra>"
                    for measured_ms, predicted_ms, num_tokens in points
                ],
                "marker": {"color": colour, "size": 7, "opacity": 0.75},
            }
        )
    if not traces:
        shortest_ms, longest_ms = 1.0, 10.0
    start_ms, end_ms = 0.8 * shortest_ms, 1.25 * longest_ms
    # Logarithmic: the steps of a fixed chunk are far longer than the dynamic ones.
    axis = {
        "type": "log",
        "tickvals": PREDICTION_TICKS_MS,
        "ticktext": [str(ms) for ms in PREDICTION_TICKS_MS],
        "range": [math.log10(start_ms), math.log10(end_ms)],
        "gridcolor": HAIRLINE,
        "zeroline": False,
        "fixedrange": True,
    }
    title_font = {"color": MUTED}
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "lines",
                "x": [start_ms, end_ms],
                "y": [start_ms, end_ms],
                "line": {"color": IDLE_HATCH, "width": 1, "dash": "dot"},
                "hoverinfo": "skip",
                "showlegend": False,
            },
            *traces,
        ],
        "layout": {
            "height": 320,
            "margin": {"l": 56, "r": 12, "t": 8, "b": 44},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": FONT, "size": 12, "color": INK},
            "xaxis": {**axis, "title": {"text": "measured, ms", "font": title_font}},
            "yaxis": {**axis, "title": {"text": "predicted, ms", "font": title_font}},
            "legend": {"x": 0.02, "y": 0.98, "bgcolor": "rgba(0,0,0,0)"},
        },
    }


def headline(data: ReportData) -> str:
    """The difference at the largest budget, where chunks are not tuned by hand."""
    budget_tokens = data.budgets_tokens[0]
    fixed = data.engine("fixed", budget_tokens)
    dynamic = data.engine("dynamic", budget_tokens)
    if fixed is None or dynamic is None:
        return "Time to first token"
    words = comparison(median_ttft_s(fixed), median_ttft_s(dynamic))
    return f"Time to first token {words} with dynamic chunks"


def summary_rows(data: ReportData) -> list[tuple[str, ...]]:
    """The table: one row an engine, as text."""
    rows: list[tuple[str, ...]] = []
    for budget_tokens in data.budgets_tokens:
        modes: tuple[Mode, ...] = ("fixed", "dynamic")
        for mode in modes:
            view = data.engine(mode, budget_tokens)
            if view is None:
                continue
            pipeline = view.median_round
            predicted_s = pipeline.predicted_ttft_s
            error = pipeline.mean_step_error
            rows.append(
                (
                    f"{budget_tokens}",
                    mode,
                    f"{median_ttft_s(view):.2f} s",
                    f"{min(view.ttfts_s):.2f} to {max(view.ttfts_s):.2f} s",
                    chunk_list(pipeline.chunks),
                    " / ".join(f"{s:.0%}".replace("%", " %") for s in pipeline.stage_busy_share),
                    "—" if predicted_s is None else f"{predicted_s:.2f} s",
                    "—" if error is None else f"{100 * error:.1f} %",
                )
            )
    return rows


SUMMARY_HEADINGS = (
    "budget, tokens",
    "chunks",
    "TTFT, median",
    "range",
    "chunk sizes, tokens",
    "stages busy",
    "TTFT predicted",
    "step error, mean",
)


def write_report(path: Path, data: ReportData) -> None:
    """Write the report as one HTML file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report_html(data), encoding="utf-8")


def report_html(data: ReportData) -> str:
    """The whole page."""
    axis_end_s = 1.02 * max(view.median_round.ttft_s for view in data.engines)
    sections = []
    for budget_tokens in data.budgets_tokens:
        fixed = data.engine("fixed", budget_tokens)
        dynamic = data.engine("dynamic", budget_tokens)
        views = [view for view in (fixed, dynamic) if view is not None]
        words = (
            comparison(median_ttft_s(fixed), median_ttft_s(dynamic)) if fixed and dynamic else ""
        )
        sections.append(
            "<section><h2><code>max_num_batched_tokens</code> "
            f"{budget_tokens}<span>{words}</span></h2>"
            f"{figure_html(pipelines_figure(views, axis_end_s))}{one_size_html(dynamic)}</section>"
        )
    page = Template(PAGE_PATH.read_text(encoding="utf-8"))
    return page.substitute(
        style=page_style(),
        fixed=CHUNK_TINTS["fixed"][0],
        dynamic=CHUNK_TINTS["dynamic"][0],
        idle=IDLE_FILL,
        hatch=IDLE_HATCH,
        headline=headline(data),
        prompt_tokens=data.prompt_tokens,
        gantt="\n".join(sections),
        summary=table_html(SUMMARY_HEADINGS, summary_rows(data)),
        model=model_html(data),
        environment=" · ".join(f"{html.escape(k)} {html.escape(v)}" for k, v in data.environment),
        plotly_js=plotly_js(),
    )


def model_html(data: ReportData) -> str:
    """The coefficients of the dynamic engine with the largest budget, and how well they do."""
    with_model = [v for v in data.engines if v.mode == "dynamic" and v.model is not None]
    if not with_model:
        return ""
    view = max(with_model, key=lambda v: v.max_num_batched_tokens)
    fit = view.model
    assert fit is not None  # noqa: S101
    table = models_table_html(fit.stages)
    return (
        "<section><h2>What the steps were predicted from</h2><div class='columns'><div>"
        "<p>One stage's time for a step of chunks with <i>x</i> new tokens after <i>h</i> computed "
        "ones:<br><code>t = quadratic·Σx²/2 + cross·Σxh + linear·Σx + context·Σh + constant</code>"
        "</p>"
        f"{table}<p class='note'>Fitted to {fit.num_points} measured steps at budget "
        f"{view.max_num_batched_tokens}; relative error {100 * fit.mean_relative_error:.1f} % in "
        f"the mean, {100 * fit.p95_relative_error:.1f} % at the 95th percentile; condition number "
        f"{fit.condition_number:.3g}. Between two steps the engine needs another "
        f"{fit.gap_ms:.2f} ms.</p></div>"
        f"<div>{figure_html(prediction_figure(data.engines))}</div></div></section>"
    )
