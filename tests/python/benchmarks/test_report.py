"""The report: what is drawn, and that the page stands by itself."""

from __future__ import annotations

import re

import pytest
from cpp_chunk import LatencyModel
from cpp_chunk.report.gantt import Bar, Chart, Span, gantt_figure, idle_spans
from cpp_chunk.report.page import models_table_html, page_style
from cpp_chunk.report.words import chunk_list

from benchmarks.demo.report import (
    ReportData,
    busy_spans,
    comparison,
    headline,
    one_size_html,
    pipelines_figure,
    prediction_figure,
    report_html,
    summary_rows,
)
from benchmarks.engine.pipeline_view import EngineView, PipelineRound
from benchmarks.engine.trace import Chunk, ModelFit, StageTime, Step

STAGE = LatencyModel(quadratic=5e-5, cross=4e-5, linear=0.05, context=0.002, constant=4.0)


def pipeline(start_s: float, chunk_ms: list[float], ttft_s: float) -> PipelineRound:
    """Chunks back to back on stage 0, each as long on stage 1 right after."""
    steps = []
    now_s = start_s
    for index, compute_ms in enumerate(chunk_ms):
        first = StageTime(now_s, compute_ms)
        second = StageTime(first.end_s, compute_ms)
        chunk = Chunk("a", 100, 100 * index)
        steps.append(Step(index, (chunk,), None, 0.9 * compute_ms, (first, second)))
        now_s = first.end_s
    return PipelineRound(start_s, ttft_s, tuple(steps))


@pytest.fixture
def data() -> ReportData:
    fit = ModelFit("profile", (STAGE, STAGE.scaled(2.0)), 1.0, 14, 0.02, 0.05, 9.0)
    fixed = EngineView("fixed", 8192, (pipeline(50.0, [1000.0], 2.0),), fit)
    dynamic = EngineView("dynamic", 8192, (pipeline(90.0, [250.0] * 4, 1.25),), fit)
    return ReportData(8192, (fixed, dynamic), (("vLLM", "0.0 <b>"),))


def test_bubbles_are_what_is_left() -> None:
    busy = [Span(0.5, 1.0), Span(0.9, 1.2), Span(2.0, 2.5)]
    assert idle_spans(busy, 3.0) == [Span(0.0, 0.5), Span(1.2, 2.0), Span(2.5, 3.0)]
    assert idle_spans(busy, 2.5) == [Span(0.0, 0.5), Span(1.2, 2.0)]
    assert idle_spans(busy, 3.0, min_length_s=0.6) == [Span(1.2, 2.0)]
    assert idle_spans([], 1.0) == [Span(0.0, 1.0)]


def test_times_are_since_the_prompt_came_in(data: ReportData) -> None:
    spans = busy_spans(data.engines[0].median_round, stage=1)
    assert spans[0].start_s == pytest.approx(1.0)
    assert spans[0].length_s == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("before_s", "after_s", "words"),
    [
        (2.0, 1.0, "2.00 s → 1.00 s, 50 % sooner"),
        (1.0, 1.25, "1.00 s → 1.25 s, 25 % later"),
        (1.0, 1.001, "1.00 s → 1.00 s, the same"),
    ],
)
def test_comparison_says_which_way(before_s: float, after_s: float, words: str) -> None:
    assert comparison(before_s, after_s) == words


def test_headline_is_computed(data: ReportData) -> None:
    assert "2.00 s → 1.25 s, 38 % sooner" in headline(data)
    assert headline(ReportData(1, data.engines[:1])) == "Time to first token"


def test_equal_chunks_are_written_once() -> None:
    assert chunk_list([1024, 512, 512, 512, 128]) == "1024, 3 x 512, 128"
    assert chunk_list([]) == ""


def test_pipelines_share_one_axis_with_fixed_on_top(data: ReportData) -> None:
    figure = pipelines_figure(data.engines, axis_end_s=2.1)
    layout = figure["layout"]
    assert layout["xaxis"]["range"] == layout["xaxis2"]["range"] == [0, 2.1]
    assert layout["yaxis"]["domain"][0] > layout["yaxis2"]["domain"][1]
    names = [(trace["name"], trace["xaxis"]) for trace in figure["data"]]
    assert names == [
        ("idle", "x"),
        ("fixed chunks", "x"),
        ("idle", "x2"),
        ("dynamic chunks", "x2"),
    ]


def test_widths_are_times_and_both_lanes_are_filled(data: ReportData) -> None:
    idle, chunks = pipelines_figure(data.engines[1:], axis_end_s=2.0)["data"]
    assert chunks["x"] == pytest.approx([0.25] * 8)
    assert chunks["y"] == ["stage 0"] * 4 + ["stage 1"] * 4
    for lane in ("stage 0", "stage 1"):
        filled_s = sum(
            width_s
            for trace in (idle, chunks)
            for width_s, y in zip(trace["x"], trace["y"], strict=True)
            if y == lane
        )
        assert filled_s == pytest.approx(1.25)
    assert "100 tokens after 300" in chunks["hovertemplate"][3]
    assert "predicted 225.0 ms" in chunks["hovertemplate"][3]


def test_lanes_are_in_order_whatever_is_drawn_first() -> None:
    late = (Bar(Span(1.0, 2.0), "8", "step"),)
    early = (Bar(Span(0.0, 2.0), "8", "step"),)
    chart = Chart("fixed", "", ("#111111", "#222222"), (early, late, late), 2.0)
    figure = gantt_figure([chart], 2.0, "seconds")
    # Stage 0 is never idle, so the first bars are of stage 1.
    assert figure["data"][0]["y"] == ["stage 1", "stage 2"]
    assert figure["layout"]["yaxis"]["categoryarray"] == ["stage 0", "stage 1", "stage 2"]
    assert figure["layout"]["shapes"] == []


def test_every_coefficient_has_a_unit() -> None:
    equal = models_table_html([STAGE, STAGE])
    assert "<td>quadratic</td><td>5e-05</td><td>ms / token²</td>" in equal
    assert equal.count("<tr>") == 1 + 5
    unequal = models_table_html([STAGE, STAGE.scaled(2.0)])
    assert "<td>constant</td><td>4</td><td>8</td><td>ms</td>" in unequal


def test_prediction_axes_hold_all_points(data: ReportData) -> None:
    figure = prediction_figure(data.engines)
    low, high = (10**end for end in figure["layout"]["xaxis"]["range"])
    for trace in figure["data"][1:]:
        assert all(low < ms < high for ms in (*trace["x"], *trace["y"]))


def test_prediction_figure_without_predictions_is_empty() -> None:
    assert len(prediction_figure([])["data"]) == 1


def test_summary_has_a_row_for_each_engine(data: ReportData) -> None:
    rows = summary_rows(data)
    assert [row[:3] for row in rows] == [
        ("8192", "fixed", "2.00 s"),
        ("8192", "dynamic", "1.25 s"),
    ]
    assert rows[1][5] == "80 % / 80 %"


def test_cells_with_a_number_or_a_unit_are_not_broken() -> None:
    assert "coefficients" in models_table_html([STAGE])
    assert ".coefficients td:not(:last-child) { white-space: nowrap; }" in page_style()


@pytest.mark.parametrize(
    ("chunks", "is_said"),
    [
        ((256,) * 32, True),
        ((256, 256, 128), True),
        ((256, 256, 384), False),
        ((512, 384, 256), False),
        ((512, 256), False),
        ((512,), False),
        ((), False),
    ],
)
def test_dynamic_chunks_of_one_size_are_explained(
    chunks: tuple[int, ...],
    is_said: bool,  # noqa: FBT001
) -> None:
    stage = StageTime(0.0, 10.0)
    steps = tuple(
        Step(index, (Chunk("a", tokens, 0),), None, None, (stage, stage))
        for index, tokens in enumerate(chunks)
    )
    said = one_size_html(EngineView("dynamic", 1024, (PipelineRound(0.0, 1.0, steps),)))
    assert bool(said) == is_said
    assert ("of one size, 256 tokens" in said) == is_said
    assert one_size_html(None) == ""


def test_page_stands_by_itself(data: ReportData) -> None:
    page = report_html(data)
    assert not re.search(r"<(?:script|link|img)[^>]*(?:src|href)=", page)
    assert "38 % sooner" in page
    assert "0.0 &lt;b&gt;" in page
    assert "equal in time" not in page
    # The fixture's dynamic chunks are alike.
    assert "The dynamic chunks here are of one size, 100 tokens" in page
    assert "their tokens, shown where they fit" in page
    # Nothing of the template is left over.
    assert not re.search(r"\$(?:ink|headline|gantt|model|summary)\b", page)
