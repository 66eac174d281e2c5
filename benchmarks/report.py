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

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.pipeline_view import EngineView, PipelineRound
    from benchmarks.trace import Coefficients
    from benchmarks.workload import Mode

Figure = dict[str, Any]

PAGE_PATH = Path(__file__).with_name("report_page.html")

INK = "#1f2733"
MUTED = "#6b7480"
HAIRLINE = "#e3e6ea"
# Two tints of one hue a mode: neighbouring chunks stay apart without a rainbow.
CHUNK_TINTS: dict[Mode, tuple[str, str]] = {
    "fixed": ("#8292a8", "#9dabbe"),
    "dynamic": ("#1d7f78", "#3a9c94"),
}
IDLE_FILL = "#f6f7f9"
IDLE_HATCH = "#c9cfd8"
FONT = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"

# Gaps below this share of the axis are less than a pixel wide.
MIN_IDLE_SHARE = 0.0005
# A label fits to the right of a line that stands before this share of the axis.
LABEL_ROOM_SHARE = 0.85

PREDICTION_TICKS_MS = [m * 10**e for e in range(6) for m in (1, 2, 5)]

COEFFICIENT_MEANINGS = {
    "quadratic": ("ms / token²", "attention inside the chunk, times half its length squared"),
    "cross": ("ms / token²", "attention of the chunk against its history, times both lengths"),
    "linear": ("ms / token", "projections and MLP, for each new token"),
    "context": ("ms / token", "what every step repeats for each token of history"),
    "constant": ("ms", "once a step: launches, weight reads"),
}


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


@dataclass(frozen=True)
class Span:
    """A piece of a stage's time, in seconds from the prompt's arrival."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """How long it lasts."""
        return self.end_s - self.start_s


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


def idle_spans(busy: Iterable[Span], end_s: float, min_length_s: float = 0.0) -> list[Span]:
    """The bubbles: what is left of a stage's time between 0 and `end_s`."""
    idle = []
    cursor_s = 0.0
    for span in [*sorted(busy, key=lambda s: s.start_s), Span(end_s, end_s)]:
        if span.start_s - cursor_s > min_length_s:
            idle.append(Span(cursor_s, span.start_s))
        cursor_s = max(cursor_s, span.end_s)
    return idle


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


def gantt_figure(views: Sequence[EngineView], axis_end_s: float) -> Figure:
    """The pipelines of some engines, one above the other on one time axis.

    Args:
        views: engines, the uppermost first; each shows its median round.
        axis_end_s: end of the axis, the same for all figures that are to be compared.
    """
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {
        "barmode": "overlay",
        "bargap": 0.18,
        "height": 66 + 128 * len(views),
        "margin": {"l": 64, "r": 16, "t": 26, "b": 40},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 12, "color": INK},
        "showlegend": False,
        "hoverlabel": {"bgcolor": "white", "bordercolor": HAIRLINE, "font": {"family": FONT}},
        "uniformtext": {"mode": "hide", "minsize": 9},
        "shapes": [],
        "annotations": [],
    }
    gap_share = 0.26 / len(views)
    height_share = (1 - gap_share * (len(views) - 1)) / len(views)
    for row, view in enumerate(views):
        suffix = "" if row == 0 else str(row + 1)
        top = 1 - row * (height_share + gap_share)
        is_lowest = row == len(views) - 1
        layout[f"xaxis{suffix}"] = {
            "range": [0, axis_end_s],
            "anchor": f"y{suffix}",
            "showgrid": True,
            "gridcolor": HAIRLINE,
            "zeroline": False,
            "showticklabels": is_lowest,
            "title": {"text": "seconds since the prompt came in", "font": {"color": MUTED}}
            if is_lowest
            else None,
            "tickfont": {"color": MUTED},
            "fixedrange": True,
            **({"matches": "x"} if row else {}),
        }
        layout[f"yaxis{suffix}"] = {
            "domain": [max(0.0, top - height_share), top],
            "anchor": f"x{suffix}",
            "autorange": "reversed",
            "ticksuffix": "  ",
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
            "tickfont": {"color": MUTED},
        }
        traces += gantt_traces(view, suffix, axis_end_s)
        add_captions(layout, view, suffix, top, axis_end_s)
    return {"data": traces, "layout": layout}


def gantt_traces(view: EngineView, axis_suffix: str, axis_end_s: float) -> list[dict[str, Any]]:
    """The bars of one engine's median round: its idle time under its chunks, one lane a stage."""
    pipeline = view.median_round
    idle: list[tuple[str, Span]] = []
    chunks: list[tuple[str, Span, str, str, str]] = []
    for stage in range(pipeline.num_stages):
        lane = f"stage {stage}"
        busy = busy_spans(pipeline, stage)
        min_length_s = MIN_IDLE_SHARE * axis_end_s
        idle += [(lane, span) for span in idle_spans(busy, pipeline.ttft_s, min_length_s)]
        for index, (step, span) in enumerate(zip(pipeline.steps, busy, strict=False)):
            history = min(chunk.num_computed_tokens for chunk in step.chunks)
            predicted = "—" if step.predicted_ms is None else f"{step.predicted_ms:.1f} ms"
            hover = (
                f"<b>chunk {index + 1} of {len(pipeline.steps)}</b> on {lane}<br>"
                f"{step.num_tokens} tokens after {history}<br>"
                f"measured {step.stages[stage].compute_ms:.1f} ms, predicted {predicted}<br>"
                f"from {span.start_s:.3f} s to {span.end_s:.3f} s"
            )
            tint = CHUNK_TINTS[view.mode][index % 2]
            chunks.append((lane, span, str(step.num_tokens), hover, tint))
    axes = {"xaxis": f"x{axis_suffix}", "yaxis": f"y{axis_suffix}"}
    bar = {"type": "bar", "orientation": "h", **axes}
    return [
        {
            **bar,
            "name": "idle",
            "y": [lane for lane, _ in idle],
            "base": [span.start_s for _, span in idle],
            "x": [span.length_s for _, span in idle],
            "hovertemplate": [
                f"idle for {1e3 * span.length_s:.0f} ms<extra></extra>" for _, span in idle
            ],
            "marker": {
                "color": IDLE_FILL,
                "line": {"color": HAIRLINE, "width": 0.5},
                "pattern": {
                    "shape": "/",
                    "fgcolor": IDLE_HATCH,
                    "bgcolor": IDLE_FILL,
                    "size": 6,
                    "solidity": 0.18,
                },
            },
        },
        {
            **bar,
            "name": view.mode,
            "y": [lane for lane, *_ in chunks],
            "base": [span.start_s for _, span, *_ in chunks],
            "x": [span.length_s for _, span, *_ in chunks],
            "text": [text for _, _, text, _, _ in chunks],
            "textposition": "inside",
            "insidetextanchor": "middle",
            "textangle": 0,
            "textfont": {"color": "white", "size": 11},
            "hovertemplate": [f"{hover}<extra></extra>" for *_, hover, _ in chunks],
            "marker": {
                "color": [tint for *_, tint in chunks],
                "line": {"color": "white", "width": 1},
            },
        },
    ]


def add_captions(
    layout: dict[str, Any], view: EngineView, axis_suffix: str, top: float, axis_end_s: float
) -> None:
    """Name a pipeline above its lanes, and mark where its first token came."""
    pipeline = view.median_round
    colour = CHUNK_TINTS[view.mode][0]
    num_chunks = len(pipeline.steps)
    noun = "chunk" if num_chunks == 1 else "chunks"
    shares = " and ".join(f"{share:.0%}".replace("%", " %") for share in pipeline.stage_busy_share)
    busy = f", stages busy {shares} of the time" if shares else ""
    layout["annotations"].append(
        {
            "xref": "paper",
            "yref": "paper",
            "x": 0,
            "y": top,
            "xanchor": "left",
            "yanchor": "bottom",
            "yshift": 3,
            "showarrow": False,
            "text": f"<b style='color:{colour}'>{view.mode} chunks</b>"
            f"<span style='color:{MUTED}'>  {num_chunks} {noun}{busy}</span>",
            "font": {"size": 12.5},
        }
    )
    layout["shapes"].append(
        {
            "type": "line",
            "xref": f"x{axis_suffix}",
            "yref": f"y{axis_suffix} domain",
            "x0": pipeline.ttft_s,
            "x1": pipeline.ttft_s,
            "y0": 0,
            "y1": 1,
            "line": {"color": INK, "width": 1.5},
        }
    )
    # Beside its line where there is room, otherwise above it.
    has_room = pipeline.ttft_s < LABEL_ROOM_SHARE * axis_end_s
    layout["annotations"].append(
        {
            "xref": f"x{axis_suffix}",
            "yref": f"y{axis_suffix} domain",
            "x": pipeline.ttft_s,
            "y": 0.5 if has_room else 1,
            "xanchor": "left" if has_room else "right",
            "yanchor": "middle" if has_room else "bottom",
            "xshift": 6 if has_room else 0,
            "yshift": 0 if has_room else 3,
            "showarrow": False,
            "text": f"first token <b>{pipeline.ttft_s:.2f} s</b>",
            "font": {"size": 12.5},
        }
    )


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


def coefficient_rows(coefficients: Coefficients) -> list[tuple[str, str, str, str]]:
    """Name, value, unit and meaning of each coefficient."""
    return [
        (name, f"{getattr(coefficients, name):.4g}", unit, meaning)
        for name, (unit, meaning) in COEFFICIENT_MEANINGS.items()
    ]


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


def chunk_list(chunks: Sequence[int]) -> str:
    """Chunk sizes, equal neighbours written once: `3 x 1024, 512`."""
    groups: list[tuple[int, int]] = []
    for tokens in chunks:
        if groups and groups[-1][1] == tokens:
            groups[-1] = (groups[-1][0] + 1, tokens)
        else:
            groups.append((1, tokens))
    return ", ".join(f"{count} x {t}" if count > 1 else f"{t}" for count, t in groups)


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
            f"{figure_html(gantt_figure(views, axis_end_s))}</section>"
        )
    page = Template(PAGE_PATH.read_text(encoding="utf-8"))
    return page.substitute(
        font=FONT,
        ink=INK,
        muted=MUTED,
        hairline=HAIRLINE,
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
    table = table_html(
        ("coefficient", "value", "unit", "what it is"), coefficient_rows(fit.coefficients)
    )
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


def table_html(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain text."""
    head = "".join(f"<th>{html.escape(text)}</th>" for text in headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def figure_html(figure: Figure) -> str:
    """A figure's own part of the page; the library is in the page's head."""
    import plotly.io  # type: ignore[import-untyped]

    rendered: str = plotly.io.to_html(
        figure,
        include_plotlyjs=False,
        full_html=False,
        validate=False,
        config={"displayModeBar": False, "responsive": True},
    )
    return rendered


def plotly_js() -> str:
    """The drawing library itself, so that the file can be opened anywhere."""
    import plotly.offline  # type: ignore[import-untyped]

    source: str = plotly.offline.get_plotlyjs()
    return source
