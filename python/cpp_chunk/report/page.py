"""Parts of a page that needs nothing else: the drawing library is inside."""

from __future__ import annotations

import html
import importlib
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from cpp_chunk.report.look import FONT, HAIRLINE, INK, MUTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cpp_chunk._core import LatencyModel
    from cpp_chunk.report.gantt import Figure

_STYLE_PATH = Path(__file__).with_name("style.css")

_COEFFICIENT_MEANINGS = {
    "quadratic": ("ms / token²", "attention inside the chunk, times half its length squared"),
    "cross": ("ms / token²", "attention of the chunk against its history, times both lengths"),
    "linear": ("ms / token", "projections and MLP, for each new token"),
    "context": ("ms / token", "what every step repeats for each token of history"),
    "constant": ("ms", "once a step: launches, weight reads"),
}


class MissingPlotlyError(ImportError):
    """The drawing library is not installed: it comes with an extra."""


def page_style() -> str:
    """The style sheet of all pages."""
    return Template(_STYLE_PATH.read_text(encoding="utf-8")).substitute(
        font=FONT, ink=INK, muted=MUTED, hairline=HAIRLINE
    )


def models_table_html(stages: Sequence[LatencyModel]) -> str:
    """The coefficients of equal stages with their meaning; of unequal ones, a column each."""
    return f'<div class="scroll coefficients">{_models_table(stages)}</div>'


def _models_table(stages: Sequence[LatencyModel]) -> str:
    if len(set(stages)) == 1:
        return table_html(
            ("coefficient", "value", "unit", "what it is"),
            (
                (name, f"{getattr(stages[0], name):.4g}", unit, meaning)
                for name, (unit, meaning) in _COEFFICIENT_MEANINGS.items()
            ),
        )
    return table_html(
        ("coefficient", *(f"stage {stage}" for stage in range(len(stages))), "unit", "what it is"),
        (
            (name, *(f"{getattr(stage, name):.4g}" for stage in stages), unit, meaning)
            for name, (unit, meaning) in _COEFFICIENT_MEANINGS.items()
        ),
    )


def table_html(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of plain text."""
    head = "".join(f"<th>{html.escape(text)}</th>" for text in headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def figure_html(figure: Figure) -> str:
    """A figure's own part of the page; the library is in the page's head.

    Raises:
        MissingPlotlyError: plotly is not installed.
    """
    rendered: str = _plotly("io").to_html(
        figure,
        include_plotlyjs=False,
        full_html=False,
        validate=False,
        config={"displayModeBar": False, "responsive": True},
    )
    return rendered


def plotly_js() -> str:
    """The drawing library itself, so that the file can be opened anywhere.

    Raises:
        MissingPlotlyError: plotly is not installed.
    """
    source: str = _plotly("offline").get_plotlyjs()
    return source


def _plotly(module: str) -> Any:
    try:
        return importlib.import_module(f"plotly.{module}")
    except ModuleNotFoundError as error:
        raise MissingPlotlyError(
            "plotly is not installed: allowed is with it, by pip install 'cpp-chunk[report]'."
        ) from error
