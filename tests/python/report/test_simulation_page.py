"""The page of a simulation: what is drawn of it."""

from __future__ import annotations

import pytest
from cpp_chunk import FixedPolicy, LatencyModel, SimulatedPipeline, SimulatedRequest, simulate
from cpp_chunk.report.simulation_page import (
    PolicyPicture,
    SimulationPage,
    alike_html,
    chart,
    headline,
    simulation_html,
    ttft_figure,
    window_s,
)

MODEL = LatencyModel(quadratic=0, cross=0, linear=0.01, context=0, constant=1)


def picture(
    chunk_tokens: int, requests: list[SimulatedRequest], name: str = "fixed"
) -> PolicyPicture:
    pipeline = SimulatedPipeline([MODEL] * 2, max_num_batched_tokens=1000)
    result = simulate(pipeline, requests, FixedPolicy(chunk_tokens), record_steps=True)
    return PolicyPicture(f"{name}={chunk_tokens}", name, result)


def test_lanes_hold_the_steps_since_the_first_arrival() -> None:
    late = picture(100, [SimulatedRequest(150, arrival_ms=500)])
    drawn = chart(late, window_s([late]))
    starts_s = [[bar.span.start_s for bar in lane] for lane in drawn.lanes]
    assert starts_s[0] == pytest.approx([0.0, 0.002])
    assert starts_s[1] == pytest.approx([0.002, 0.004])
    lengths_s = [[bar.span.length_s for bar in lane] for lane in drawn.lanes]
    for lane in lengths_s:
        assert lane == pytest.approx([0.002, 0.0015])
    assert drawn.end_s == pytest.approx(0.0055)
    assert drawn.caption == "2 steps, first token 5.5 ms"
    assert "request 0: 50 tokens after 100" in drawn.lanes[0][1].hover


def test_long_runs_are_drawn_in_part() -> None:
    short, long = picture(1000, [SimulatedRequest(10**5)]), picture(100, [SimulatedRequest(10**5)])
    assert window_s([short]) == pytest.approx(short.result.makespan_ms / 1e3)
    end_s = window_s([short, long])
    # 160 steps of 2 ms.
    assert end_s == pytest.approx(0.32)
    drawn = chart(long, end_s)
    assert len(drawn.lanes[0]) == 160
    assert drawn.end_label is None
    assert chart(long, 1e9).end_label == ""


def test_distribution_has_all_requests() -> None:
    requests = [SimulatedRequest(100 * (1 + i)) for i in range(10)]
    runs = [picture(100, requests), picture(200, requests), picture(200, requests, "dynamic")]
    figure = ttft_figure(runs)
    traces = figure["data"]
    # No line ends at the edge, as if it went on.
    longest_s = max(run.result.ttft_ms.max for run in runs) / 1e3
    assert figure["layout"]["xaxis"]["range"] == pytest.approx([0, 1.03 * longest_s])
    assert [trace["name"] for trace in traces] == ["fixed=100", "fixed=200", "dynamic=200"]
    for trace, run in zip(traces, runs, strict=True):
        assert trace["y"] == pytest.approx([0, *(10 * (i + 1) for i in range(10))])
        assert max(trace["x"]) == pytest.approx(run.result.ttft_ms.max / 1e3)
    # Alike in colour, so unlike in their lines.
    assert [trace["line"]["dash"] for trace in traces] == ["solid", "dash", "solid"]


def test_equal_results_are_named() -> None:
    requests = [SimulatedRequest(100 * (1 + i)) for i in range(10)]
    runs = [picture(100, requests), picture(200, requests), picture(200, requests, "atom")]
    assert alike_html(runs[:2]) == ""
    assert "fixed=200 and atom=200 have the same results: one line stands" in alike_html(runs)
    one = [SimulatedRequest(100)]
    # Bars hide nothing.
    assert alike_html([picture(100, one), picture(200, one, "atom")]) == (
        '<p class="note">fixed=100 and atom=200 have the same results.</p>'
    )


def test_the_end_of_a_run_is_explained_where_it_is_drawn() -> None:
    def page(*runs: PolicyPicture) -> str:
        return simulation_html(
            SimulationPage(
                policies=runs,
                stages=(MODEL, MODEL),
                gap_ms=0,
                prompt_tokens=1234567,
                cached_tokens=4321,
                headings=("policy",),
                rows=(),
                note="",
            )
        )

    whole = page(picture(1000, [SimulatedRequest(10**4)]))
    assert "shown where they fit; a black line is the end of a run." in whole
    assert "1,234,567 prompt tokens, of which 4,321 cached" in whole
    assert "shown where they fit." in page(picture(100, [SimulatedRequest(10**5)]))


def test_one_request_gets_bars() -> None:
    [bars] = ttft_figure([picture(100, [SimulatedRequest(150)])])["data"]
    assert bars["x"] == pytest.approx([0.0055])


def test_many_requests_are_thinned_out() -> None:
    requests = [SimulatedRequest(10, arrival_ms=i) for i in range(3000)]
    [line] = ttft_figure([picture(1000, requests)])["data"]
    assert len(line["x"]) < 500
    assert line["y"][-1] == 100


def test_headline_says_which_way() -> None:
    requests = [SimulatedRequest(1000)]
    small, large = picture(200, requests), picture(1000, requests)
    ours = PolicyPicture("dynamic", "dynamic", small.result)
    assert "sooner than the best of the others (fixed=1000)" in headline([ours, large])
    assert "the same as the best of the others (fixed=200)" in headline([ours, small, large])
    worse = PolicyPicture("dynamic", "dynamic", large.result)
    assert "later than the best of the others (fixed=200)" in headline([small, worse])
    assert headline([small, large]) == "Time to first token, simulated"
