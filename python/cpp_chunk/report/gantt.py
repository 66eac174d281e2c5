"""Pipelines drawn in time, one lane a stage, with their bubbles hatched.

Figures are plain plotly dictionaries, so that what is drawn can be tested without a browser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cpp_chunk.report.look import FONT, HAIRLINE, IDLE_FILL, IDLE_HATCH, INK, MUTED, Tints

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Figure = dict[str, Any]

# Gaps below this share of the axis are less than a pixel wide.
MIN_IDLE_SHARE = 0.0005
# A label fits to the right of a line that stands before this share of the axis.
LABEL_ROOM_SHARE = 0.85

_MARGIN_TOP_PX, _MARGIN_BOTTOM_PX = 26, 40
_CAPTION_PX = 40
# Of many stages, lanes are lower, so that pipelines can still be compared on one screen.
_LANE_PX, _LOW_LANE_PX, _MAX_HIGH_LANES = 44, 24, 2
_GAP_PX = 33
# Of more bars than this in a pipeline, the edges would hide the bars.
_MAX_EDGED = 160


@dataclass(frozen=True)
class Span:
    """A piece of a stage's time, in seconds since the picture's beginning."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """How long it lasts."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Bar:
    """One step on one stage."""

    span: Span
    # Written on it where there is room.
    label: str
    # HTML that is shown under the mouse.
    hover: str


@dataclass(frozen=True)
class Chart:
    """One pipeline: its lanes are its stages, in order."""

    name: str
    # HTML beside the name.
    caption: str
    tints: Tints
    lanes: tuple[tuple[Bar, ...], ...]
    # Until when a stage without work counts as idle.
    end_s: float
    # What stands beside the line at end_s, as HTML; None: no line, the picture ends before.
    end_label: str | None = None


def idle_spans(busy: Iterable[Span], end_s: float, min_length_s: float = 0.0) -> list[Span]:
    """The bubbles: what is left of a stage's time between 0 and `end_s`."""
    idle = []
    cursor_s = 0.0
    for span in [*sorted(busy, key=lambda s: s.start_s), Span(end_s, end_s)]:
        if span.start_s - cursor_s > min_length_s:
            idle.append(Span(cursor_s, span.start_s))
        cursor_s = max(cursor_s, span.end_s)
    return idle


def gantt_figure(charts: Sequence[Chart], axis_end_s: float, axis_title: str) -> Figure:
    """Pipelines of as many stages each, one above the other on one time axis.

    Args:
        charts: the uppermost first.
        axis_end_s: end of the axis, the same for all figures that are to be compared.
        axis_title: below the axis.
    """
    num_lanes = max(len(chart.lanes) for chart in charts)
    lane_px = _LANE_PX if num_lanes <= _MAX_HIGH_LANES else _LOW_LANE_PX
    plot_px = (_CAPTION_PX + lane_px * num_lanes) * len(charts)
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {
        "barmode": "overlay",
        "bargap": 0.18,
        "height": _MARGIN_TOP_PX + _MARGIN_BOTTOM_PX + plot_px,
        "margin": {"l": 64, "r": 16, "t": _MARGIN_TOP_PX, "b": _MARGIN_BOTTOM_PX},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 12, "color": INK},
        "showlegend": False,
        "hoverlabel": {"bgcolor": "white", "bordercolor": HAIRLINE, "font": {"family": FONT}},
        "uniformtext": {"mode": "hide", "minsize": 9},
        "shapes": [],
        "annotations": [],
    }
    gap_share = _GAP_PX / plot_px
    height_share = (1 - gap_share * (len(charts) - 1)) / len(charts)
    for row, chart in enumerate(charts):
        suffix = "" if row == 0 else str(row + 1)
        top = 1 - row * (height_share + gap_share)
        is_lowest = row == len(charts) - 1
        layout[f"xaxis{suffix}"] = {
            "range": [0, axis_end_s],
            "anchor": f"y{suffix}",
            "showgrid": True,
            "gridcolor": HAIRLINE,
            "zeroline": False,
            "showticklabels": is_lowest,
            "title": {"text": axis_title, "font": {"color": MUTED}} if is_lowest else None,
            "tickfont": {"color": MUTED},
            "fixedrange": True,
            **({"matches": "x"} if row else {}),
        }
        layout[f"yaxis{suffix}"] = {
            "domain": [max(0.0, top - height_share), top],
            "anchor": f"x{suffix}",
            "autorange": "reversed",
            # Otherwise in the order of their first bars, those of bubbles first.
            "categoryorder": "array",
            "categoryarray": [_lane_name(stage) for stage in range(num_lanes)],
            "ticksuffix": "  ",
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
            "tickfont": {"color": MUTED},
        }
        traces += _bars(chart, suffix, axis_end_s)
        _add_captions(layout, chart, suffix, top, axis_end_s)
    return {"data": traces, "layout": layout}


def _lane_name(stage: int) -> str:
    return f"stage {stage}"


def _bars(chart: Chart, axis_suffix: str, axis_end_s: float) -> list[dict[str, Any]]:
    """A pipeline's idle time under its steps, one lane a stage."""
    idle: list[tuple[str, Span]] = []
    steps: list[tuple[str, Bar, str]] = []
    for stage, lane in enumerate(chart.lanes):
        name = _lane_name(stage)
        busy = [bar.span for bar in lane]
        min_length_s = MIN_IDLE_SHARE * axis_end_s
        idle += [(name, span) for span in idle_spans(busy, chart.end_s, min_length_s)]
        steps += [(name, bar, chart.tints[index % 2]) for index, bar in enumerate(lane)]
    axes = {"xaxis": f"x{axis_suffix}", "yaxis": f"y{axis_suffix}"}
    bar_style = {"type": "bar", "orientation": "h", **axes}
    return [
        {
            **bar_style,
            "name": "idle",
            "y": [name for name, _ in idle],
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
            **bar_style,
            "name": chart.name,
            "y": [name for name, _, _ in steps],
            "base": [bar.span.start_s for _, bar, _ in steps],
            "x": [bar.span.length_s for _, bar, _ in steps],
            "text": [bar.label for _, bar, _ in steps],
            "textposition": "inside",
            "insidetextanchor": "middle",
            "textangle": 0,
            "textfont": {"color": "white", "size": 11},
            "hovertemplate": [f"{bar.hover}<extra></extra>" for _, bar, _ in steps],
            "marker": {
                "color": [tint for _, _, tint in steps],
                "line": {"color": "white", "width": 1 if len(steps) <= _MAX_EDGED else 0.3},
            },
        },
    ]


def _add_captions(
    layout: dict[str, Any], chart: Chart, axis_suffix: str, top: float, axis_end_s: float
) -> None:
    """Name a pipeline above its lanes, and mark its end."""
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
            "text": f"<b style='color:{chart.tints[0]}'>{chart.name}</b>"
            f"<span style='color:{MUTED}'>  {chart.caption}</span>",
            "font": {"size": 12.5},
        }
    )
    if chart.end_label is None:
        return
    layout["shapes"].append(
        {
            "type": "line",
            "xref": f"x{axis_suffix}",
            "yref": f"y{axis_suffix} domain",
            "x0": chart.end_s,
            "x1": chart.end_s,
            "y0": 0,
            "y1": 1,
            "line": {"color": INK, "width": 1.5},
        }
    )
    if not chart.end_label:
        return
    # Beside its line where there is room, otherwise above it.
    has_room = chart.end_s < LABEL_ROOM_SHARE * axis_end_s
    layout["annotations"].append(
        {
            "xref": f"x{axis_suffix}",
            "yref": f"y{axis_suffix} domain",
            "x": chart.end_s,
            "y": 0.5 if has_room else 1,
            "xanchor": "left" if has_room else "right",
            "yanchor": "middle" if has_room else "bottom",
            "xshift": 6 if has_room else 0,
            "yshift": 0 if has_room else 3,
            "showarrow": False,
            "text": chart.end_label,
            "font": {"size": 12.5},
        }
    )
