"""What the planner promises: every figure that does not depend on the machine's speed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from benchmarks import performance_page
from benchmarks.planning import two_work_terms
from benchmarks.planning.figures import EXACT_PARTS, timed_parts
from benchmarks.planning.lone_prompt import RULES
from benchmarks.planning.published import ASCEND_RUNS, KIMI_STEP
from benchmarks.planning.row import FIXED_SIZES_TOKENS, planning_row
from benchmarks.shared.figures import Figure
from benchmarks.shared.figures_table import cases_table, figures_table, write_rows

if TYPE_CHECKING:
    from pathlib import Path

NUM_ROWS = {
    "published fixed sizes": 3,
    "the exact optimum": 4,
    "the best fixed size": 4,
    "others' rules": 3,
    "mixed lengths": 12,
    "unequal stages": 2,
    "two work terms": 8,
}


@pytest.mark.parametrize("part", EXACT_PARTS)
def test_figures_hold(part: str) -> None:
    rows = EXACT_PARTS[part]()
    assert len(rows) == NUM_ROWS[part]
    assert {row.figure: row.value for row in rows if not row.holds} == {}


def test_limits_are_those_promised() -> None:
    limits = {part: [row.limit for row in EXACT_PARTS[part]()] for part in EXACT_PARTS}
    assert limits["published fixed sizes"] == [0.01] * 3
    assert limits["the exact optimum"] == [0.01] * 4
    assert limits["the best fixed size"] == [0.04, 0.07, 0.09, 0.11]
    assert limits["others' rules"] == [0.005] * len(RULES)
    assert limits["mixed lengths"] == [0.99, 1.01] * 4 + [1.05] * 2 + [1.03] * 2
    assert limits["unequal stages"] == [0.04, 0.03]
    assert (
        *(1024, 1536, 2048, 3072, 4096, 6144, 8192, 12_288, 16_384, 24_576, 32_768),
    ) == FIXED_SIZES_TOKENS


def test_rows_say_what_they_are_the_worst_of() -> None:
    for row in EXACT_PARTS["others' rules"]():
        assert max(row.details["by_case"].values()) == row.value
        assert list(row.details["by_case"]) == [f"S = {s}" for s in range(2, 17)]
    for row in EXACT_PARTS["mixed lengths"]():
        worst = min if row.is_lower_bound else max
        assert worst(row.details["by_case"].values()) == row.value
        # Six concurrencies; the rows that are not of one kind of lengths have both.
        assert len(row.details["by_case"]) == (6 if "closed loop" in row.figure else 12)


@pytest.mark.parametrize("run", ASCEND_RUNS, ids=lambda run: run.model)
@pytest.mark.parametrize("constant_ms", two_work_terms.CONSTANTS_MS)
def test_static_time_is_met_exactly(run: two_work_terms.AscendRun, constant_ms: float) -> None:
    fit = two_work_terms.fitted(run, constant_ms)
    assert fit.static_ms == pytest.approx(1e3 * run.static_ttft_s)
    assert fit.model.quadratic > 0 and fit.model.linear > 0
    assert fit.model.constant == constant_ms


def test_timed_parts_are_named_and_not_run_here(tmp_path: Path) -> None:
    assert not timed_parts(tmp_path).keys() & EXACT_PARTS.keys()
    assert list(tmp_path.iterdir()) == []


def rows_of_both_kinds() -> list[Figure]:
    return [
        Figure("measured", 0.5, 1.0, "make bench"),
        planning_row("planned", 0.2, 0.1, by_case={"S = 2": 0.2, "S = 4": 0.123456}, notes="said"),
        planning_row("bare", 3.0, 2.0, is_lower_bound=True),
    ]


def test_the_page_has_the_planning_figures_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performance_page, "version", lambda name: "1.0")
    write_rows(tmp_path / "bench" / "result.json", rows_of_both_kinds())
    written = json.loads((tmp_path / "bench" / "result.json").read_text(encoding="utf-8"))
    measured, planning = performance_page.page(written).split("## Planning")
    assert "| measured | 0.5 | ≤ 1 | yes |" in measured
    assert "planned" not in measured and "bare" not in measured
    assert "| planned | 0.2 | ≤ 0.1 | **no** |\n| bare | 3 | ≥ 2 | yes |" in planning
    assert "- planned: S = 2: 0.2, S = 4: 0.12346; said." in planning
    assert "- bare" not in planning
    assert "| measured" not in planning


def test_a_page_of_a_run_without_planning_figures_is_made_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(performance_page, "version", lambda name: "1.0")
    assert "## Planning" in performance_page.page([rows_of_both_kinds()[0].to_json()])


def test_tables_show_values_and_what_does_not_hold() -> None:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(figures_table(rows_of_both_kinds(), "Some"))
        console.print(cases_table(rows_of_both_kinds()))
    shown = capture.get()
    assert "planned" in shown and "≤ 0.1" in shown and "no" in shown
    assert "S = 4" in shown and "0.12346" in shown


def test_the_gap_is_in_the_step_model() -> None:
    assert KIMI_STEP.constant == pytest.approx(26.1 + 17.5)
