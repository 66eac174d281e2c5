"""`cpp-chunk plan`, as users call it: what it prints, its JSON, and each wrong input's sentence."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from string import Template

import cpp_chunk
import pytest
from command import KIMI, KIMI_UNEVEN, complaint, run
from cpp_chunk.cli.shared.fixed_sizes import fixed_sizes_tokens
from cpp_chunk.cli.shared.tables import print_table
from cpp_chunk.records.profile_file import PipelineProfile, write_profile
from rich.console import Console

POINTS = Path(__file__).parents[2] / "data" / "cpu_pp2_chunk_timings.csv"
STAGE = cpp_chunk.LatencyModel(
    quadratic=6.5e-7, cross=6.5e-7, linear=6.03e-3, context=5.39e-4, constant=26.1 + 17.5
)
LIMITS = {"max_chunk_tokens": 32768, "alignment": 16}


def test_fewer_steps_in_flight_leave_less_to_gain() -> None:
    arguments = (*KIMI, "-S", 4, "--prompt-tokens", "64k", "--json")
    for max_in_flight in (2, 5):
        [prompt] = run("plan", *arguments, "--max-in-flight", max_in_flight).json["prompts"]
        plan = cpp_chunk.plan_chunks([STAGE] * 4, 65536, max_in_flight=max_in_flight, **LIMITS)
        assert prompt["chunks"] == plan.chunks
        fixed = prompt["best_fixed"]
        assert fixed["ttft_ms"] == pytest.approx(
            cpp_chunk.plan_fixed_chunks(
                [STAGE] * 4, 65536, fixed["chunk_tokens"], max_in_flight=max_in_flight
            ).makespan_ms
        )
    [two] = run("plan", *arguments, "--max-in-flight", 2).json["prompts"]
    [as_many_as_stages] = run("plan", *arguments).json["prompts"]
    assert len(two["chunks"]) < len(as_many_as_stages["chunks"])
    assert two["ttft_ms"] > 1.1 * as_many_as_stages["ttft_ms"]
    assert complaint("plan", *arguments, "--max-in-flight", 0).startswith("--max-in-flight is '0'")


def test_json_is_what_the_library_says() -> None:
    result = run("plan", *KIMI, "-S", 4, "--prompt-tokens", "128k", "--json").json
    plan = cpp_chunk.plan_chunks([STAGE] * 4, 131072, **LIMITS)
    [prompt] = result["prompts"]
    assert prompt["chunks"] == plan.chunks
    assert prompt["target_ms"] == pytest.approx(plan.target_ms)
    assert prompt["ttft_ms"] == pytest.approx(plan.makespan_ms)
    assert prompt["bound_ms"] == pytest.approx(
        cpp_chunk.makespan_bound_ms([STAGE] * 4, [(131072, 0)])
    )
    sweep = {
        size: cpp_chunk.plan_fixed_chunks([STAGE] * 4, 131072, size).makespan_ms
        for k in range(8, 16)
        for size in (1 << k, 3 << (k - 1))
        if size <= 32768
    }
    best = min(sweep, key=lambda size: sweep[size])
    assert prompt["best_fixed"]["chunk_tokens"] == best
    assert prompt["best_fixed"]["ttft_ms"] == pytest.approx(sweep[best])
    assert prompt["gain"] == pytest.approx(1 - plan.makespan_ms / sweep[best])
    assert prompt["gain"] > 0.05
    assert "layer_split" not in prompt
    assert len(result["stages"]) == 4
    assert result["stages"][0]["constant"] == 26.1
    assert result["gap_ms"] == 17.5
    assert result["limits"] == {
        "max_num_batched_tokens": 32768,
        "min_chunk": 1,
        "block_size": 16,
        "multiple_of": [],
        "max_step_ms": None,
    }


def test_every_limit_reaches_the_planner() -> None:
    result = run(
        *("plan", *KIMI, "-S", 4, "--prompt-tokens", 100000, "--num-computed-tokens", 20000),
        *("--max-num-batched-tokens", "8k", "--min-chunk", 512, "--block-size", 64),
        *("--multiple-of", 256, "--multiple-of", 128, "--max-step-ms", 150, "--json"),
    ).json
    plan = cpp_chunk.plan_chunks(
        [STAGE] * 4,
        100000,
        max_chunk_tokens=8192,
        min_chunk_tokens=512,
        alignment=64,
        preferred_multiples=[256, 128],
        num_computed_tokens=20000,
        max_step_ms=150,
    )
    [prompt] = result["prompts"]
    assert prompt["chunks"] == plan.chunks
    assert sum(prompt["chunks"]) == 80000
    assert result["limits"]["max_step_ms"] == 150
    assert result["num_computed_tokens"] == 20000
    # The baseline keeps the bound on a step too.
    fixed = cpp_chunk.plan_fixed_chunks(
        [STAGE] * 4, 100000, prompt["best_fixed"]["chunk_tokens"], num_computed_tokens=20000
    )
    assert fixed.target_ms <= 150


def test_printed_plan() -> None:
    outcome = run("plan", *KIMI, "-S", 4, "--prompt-tokens", "128k")
    assert outcome.code == 0
    assert outcome.err == ""
    assert "4 equal stages" in outcome.out
    assert "quadratic 6.5e-07, cross 6.5e-07, linear 0.00603" in outcome.out
    plan = cpp_chunk.plan_chunks([STAGE] * 4, 131072, **LIMITS)
    assert f"TTFT predicted   {plan.makespan_ms / 1e3:.2f} s" in outcome.out
    assert f"chunks           {len(plan.chunks)}: {plan.chunks[0]}, " in outcome.out
    assert "best fixed size" in outcome.out
    assert " % sooner" in outcome.out
    assert not any(line.endswith(" ") for line in outcome.out.splitlines())


def test_long_lists_are_folded() -> None:
    out = run("plan", *KIMI, "-S", 16, "--prompt-tokens", "1m").out
    chunks = out[out.index("chunks  ") : out.index("TTFT predicted")]
    assert " ... " in chunks
    assert len(chunks) < 400


def test_uneven_stages_and_the_layer_split() -> None:
    result = run("plan", *KIMI_UNEVEN, "--prompt-tokens", "128k", "--layers", 60, "--json").json
    stages = [
        cpp_chunk.LatencyModel(**stage).with_overhead(result["gap_ms"])
        for stage in result["stages"]
    ]
    assert len(set(stages)) == 2
    split = cpp_chunk.best_layer_split(stages, 131072, [15, 15, 15, 15], **LIMITS)
    shown = result["prompts"][0]["layer_split"]
    assert shown["layers"] == split.layers
    assert sum(split.layers) == 60
    assert split.layers[-1] < 15
    assert shown["gain"] == pytest.approx(1 - split.makespan_ms / split.makespan_before_ms)
    text = run("plan", *KIMI_UNEVEN, "--prompt-tokens", "128k", "--layers", 60).out
    assert f"VLLM_PP_LAYER_PARTITION={','.join(map(str, split.layers))}" in text
    given = run(
        *("plan", *KIMI_UNEVEN, "--prompt-tokens", "128k"),
        *("--layer-partition", "15,15,15,15", "--json"),
    ).json
    assert given["prompts"] == result["prompts"]


def test_equal_stages_get_no_layer_hint() -> None:
    out = run("plan", *KIMI, "-S", 4, "--prompt-tokens", "8k", "--layers", 60).out
    assert "VLLM_PP_LAYER_PARTITION" not in out


def test_distribution_has_a_row_a_quantile() -> None:
    arguments = ("plan", *KIMI, "-S", 2, "--prompt-tokens", "uniform:4k-64k")
    result = run(*arguments, "--json").json
    assert [prompt["name"] for prompt in result["prompts"]] == ["p10", "p50", "p90", "max"]
    lengths = [prompt["prompt_tokens"] for prompt in result["prompts"]]
    assert lengths[0] == pytest.approx(4096 + 0.1 * 61440, rel=0.05)
    assert lengths[1] == pytest.approx(4096 + 0.5 * 61440, rel=0.05)
    assert 65000 < lengths[3] <= 65536
    assert result["draws"] == {"distribution": "uniform:4096-65536", "count": 10000, "seed": 0}
    assert run(*arguments, "--json").json == result
    other = run(*arguments, "--seed", 1, "--json").json
    assert [prompt["prompt_tokens"] for prompt in other["prompts"]] != lengths
    text = run(*arguments).out
    assert "uniform:4096-65536: quantiles of 10000 draws, seed 0" in text
    assert all(str(length) in text for length in lengths)


def test_points_are_fitted_stage_by_stage(tmp_path: Path) -> None:
    saved = tmp_path / "profile.json"
    arguments = ("--points", POINTS, "--where", "model=tiny", "--prompt-tokens", "16k")
    result = run("plan", *arguments, "--gap-ms", 0.5, "--save-profile", saved, "--json").json
    assert [fit["num_points"] for fit in result["fits"]] == [93, 93]
    assert all(fit["mean_relative_error"] < 0.04 for fit in result["fits"])
    assert result["stages"][0] != result["stages"][1]
    assert "relative error" in run("plan", *arguments).out
    again = run("plan", "--profile", saved, "--prompt-tokens", "16k", "--json").json
    assert again["prompts"] == result["prompts"]
    assert again["gap_ms"] == 0.5
    assert run("plan", "--profile", saved, "--gap-ms", 0, "--prompt-tokens", 99).code == 0


def test_trace_of_an_engine_is_a_profile(tmp_path: Path) -> None:
    coefficients = {
        "quadratic": 6e-5,
        "cross": 5e-5,
        "linear": 0.04,
        "context": 1e-4,
        "constant": 9.0,
    }
    trace = tmp_path / "trace.jsonl"
    lines = [
        {"event": "profile_pass", "num_tokens": 8, "num_computed_tokens": 0, "stage_ms": [1, 2]},
        {"event": "model", "source": "profile", "stages": [coefficients] * 2, "gap_ms": 0.5},
    ]
    trace.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    result = run("plan", "--profile", trace, "-S", 2, "--prompt-tokens", "8k", "--json").json
    assert result["stages"] == [coefficients] * 2
    assert result["gap_ms"] == 0.5


BARE = ("plan", "--prompt-tokens", "8k")
ONE = (*BARE, "--coefficients", "linear=0.01,constant=5")
TWO = (*ONE, "-S", 2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("plan",), "--prompt-tokens is not given: it is needed, as a number of tokens from 1"),
        (("plan", "--prompt-tokens", "0"), "--prompt-tokens is '0': allowed is a number of tokens"),
        (
            ("plan", "--prompt-tokens", "uniform:5-4"),
            "--prompt-tokens is 'uniform:5-4': allowed is",
        ),
        (
            BARE,
            "No latency model is given: one of --profile, --coefficients, --points is needed.",
        ),
        (
            (*ONE, "--points", "p.csv"),
            "--coefficients and --points are given: allowed is exactly o",
        ),
        (ONE, "--pipeline-parallel-size is not given: it is needed, since the one model of --coef"),
        ((*ONE, "-S", "0"), "--pipeline-parallel-size is '0': allowed is a whole number from 1 to"),
        ((*ONE, "-S", "two"), "--pipeline-parallel-size is 'two': allowed is a whole number from"),
        (
            (*TWO, "--coefficients", "linear=1", "-S", 3),
            "--pipeline-parallel-size is 3: allowed is",
        ),
        (
            (*BARE, "--coefficients", "cubic=1"),
            "--coefficients is 'cubic=1': 'cubic' is no coefficient, allowed are quadratic, cross,",
        ),
        (
            (*BARE, "--coefficients", "linear=-1"),
            "--coefficients is 'linear=-1': linear is '-1', allowed is a finite number of at least",
        ),
        (
            (*BARE, "--coefficients", "constant=1,linear=nan"),
            "--coefficients is 'constant=1,linear=nan': linear is 'nan', allowed is a finite numbe",
        ),
        (
            (*BARE, "--coefficients", "constant=1,linear"),
            "--coefficients is 'constant=1,linear': linear has no value, allowed is linear=NUMBER.",
        ),
        (
            (*TWO, "--coefficients", "linear=0,constant=0.0"),
            "--coefficients has only coefficients of 0 for stage 1: allowed is at least one above",
        ),
        (
            (*BARE, "--coefficients", "linear=1,linear=2"),
            "--coefficients is 'linear=1,linear=2': linear is given twice, allowed is once.",
        ),
        ((*TWO, "--gap-ms", "-1"), "--gap-ms is '-1': allowed is a finite number of milliseconds"),
        ((*TWO, "--gap-ms", "nan"), "--gap-ms is 'nan': allowed is a finite number of millisec"),
        ((*TWO, "--max-step-ms", "0"), "--max-step-ms is '0': allowed is a finite number of mil"),
        (
            (*TWO, "--min-chunk", "64k"),
            "--min-chunk is 65536: allowed is at most --max-num-batched",
        ),
        (
            (*TWO, "--block-size", "64k"),
            "--block-size is 65536: allowed is at most --max-num-batch",
        ),
        ((*TWO, "--block-size", "0"), "--block-size is '0': allowed is a number of tokens from 1"),
        ((*TWO, "--multiple-of", "x"), "--multiple-of is 'x': allowed is a number of tokens from"),
        ((*TWO, "--num-computed-tokens", "8k"), "--num-computed-tokens is 8192: allowed is less t"),
        ((*TWO, "--layers", "1"), "--layers is 1: allowed is a whole number from 2"),
        (
            (*TWO, "--layer-partition", "1,2,3"),
            "--layer-partition is '1,2,3': allowed is 2 numbers",
        ),
        ((*TWO, "--layer-partition", "1,x"), "--layer-partition is '1,x': allowed is whole number"),
        (
            (*TWO, "--layers", "4", "--layer-partition", "1,2"),
            "--layer-partition is '1,2': allowed",
        ),
        ((*TWO, "--seed", "-1"), "--seed is '-1': allowed is a whole number from 0"),
        ((*TWO, "--where", "model=tiny"), "--where chooses rows of --points: it is allowed only"),
        (
            (*TWO, "--save-profile", "/no/such"),
            "--save-profile is '/no/such': allowed is a file th",
        ),
        (
            (*BARE, "--profile", "/no/such"),
            "--profile is '/no/such': allowed is a file that can be",
        ),
        (
            (*BARE, "--points", "/no/such"),
            "--points is '/no/such': allowed is a file that can be r",
        ),
        ((*BARE, "--points", POINTS, "--where", "x"), "--where is 'x': allowed is COLUMN=VALUE"),
        ((*BARE, "--points", POINTS, "--where", "x=1"), "--where is 'x': allowed is a column of"),
        (
            (*BARE, "--points", POINTS, "-S", 4),
            "--pipeline-parallel-size is 4: allowed is 2, the n",
        ),
        (("plan", "--nonsense"), "No such option: --nonsense"),
        (("plan", "--prompt-tokens"), "Option '--prompt-tokens' requires an argument."),
        (("nonsense",), "No such command 'nonsense'."),
    ],
)
def test_a_wrong_input_gets_one_sentence(arguments: tuple[object, ...], sentence: str) -> None:
    assert complaint(*arguments).startswith(sentence)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "a,b\n1,2\n",
            "has the columns ['a', 'b']: needed are num_tokens, num_computed_tokens, st",
        ),
        ("num_tokens,num_computed_tokens,stage0_ms\n", "has no row of a measured chunk: allowed"),
        (
            "num_tokens,num_computed_tokens,stage0_ms\n8,0,1\n8,0,x\n",
            "line 3: stage0_ms is 'x': allowed is a finite number of milliseconds above 0",
        ),
        (
            "num_tokens,num_computed_tokens,stage0_ms\n8.5,0,1\n",
            "line 2: num_tokens is '8.5': allowed is a whole number of tokens from 1",
        ),
        (
            "num_tokens,num_computed_tokens,stage0_ms\n8,,1\n",
            "line 2: num_computed_tokens is '': allowed is a whole number of tokens from 0",
        ),
        (
            "num_tokens,num_computed_tokens,stage0_ms\n8,0,1\n8,0\n",
            "line 3: stage0_ms is missing: needed are num_tokens, num_computed_tokens, stage0_ms",
        ),
        (
            "num_tokens,num_computed_tokens,stage0_ms\n8,0,1\n8,9,1\n",
            "carries no model of stage 0: ",
        ),
    ],
)
def test_wrong_points_get_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(text, encoding="utf-8")
    said = complaint(*BARE, "-S", 2, "--points", path)
    assert said.startswith(f"--points {path} {sentence}")


def test_wrong_profile_is_named(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text("{}", encoding="utf-8")
    assert complaint(*BARE, "--profile", path).startswith(f"--profile {path} is not a profile: ")


def test_a_profile_of_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    nothing = cpp_chunk.LatencyModel(quadratic=0, cross=0, linear=0, context=0, constant=0)
    write_profile(path, PipelineProfile.of([STAGE, nothing], gap_ms=5))
    sentence = "--profile has only coefficients of 0 for stage 1: allowed is at least one above 0."
    assert complaint(*BARE, "--profile", path) == sentence
    assert complaint("simulate", *BARE[1:], "--profile", path) == sentence


def test_fixed_sizes_go_up_to_the_cap() -> None:
    assert fixed_sizes_tokens(200) == [200]
    assert fixed_sizes_tokens(256) == [256]
    assert fixed_sizes_tokens(1000) == [256, 384, 512, 768, 1000]
    # Powers of two and midpoints of two, without the cap twice.
    assert fixed_sizes_tokens(1536) == [256, 384, 512, 768, 1024, 1536]
    assert fixed_sizes_tokens(131072)[-4:] == [49152, 65536, 98304, 131072]


@pytest.mark.parametrize("columns", [60, 80, 100, 140])
@pytest.mark.parametrize("command", ["plan", "simulate"])
def test_examples_can_be_pasted(
    command: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    outcome = run(command, "--help")
    assert outcome.code == 0
    examples = outcome.out[outcome.out.index("Examples\n") :]
    assert f"cpp-chunk {command} --" in examples
    assert all(len(line) <= 76 for line in examples.splitlines())
    # A backslash that spaces follow continues nothing.
    assert not re.search(r"[ \t]$", examples, re.MULTILINE)
    commands = [
        shlex.split(Template(line).substitute(STAGE="linear=1"))
        for line in examples.replace("\\\n", " ").splitlines()
        if line.startswith("  cpp-chunk")
    ]
    options = set(re.findall(r"--[a-z-]+", outcome.out[: -len(examples)]))
    for words in commands:
        given = {word for word in words if word.startswith("--")}
        assert len(given) >= 3
        assert given <= options


@pytest.mark.parametrize("columns", [40, 80, 100, 140])
def test_no_cell_is_cut_off(columns: int) -> None:
    groups = [("name", "one long heading", "second"), ("third", "fourth"), ("fifth heading",)]
    rows = [("a" * 30, "12345678901234567890", "2", "3", "4", "5"), tuple("bcdefg")]
    console = Console(width=columns, file=io.StringIO())
    print_table(console, "title", groups, rows)
    out = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in out
    for cell in [*rows[0], *(heading for group in groups for heading in group)]:
        assert cell in out
    # Each begins with the names.
    lines = [line for line in out.splitlines() if "a" * 30 in line]
    assert len(lines) == {40: 3, 80: 2, 100: 1, 140: 1}[columns]
    assert out.count("title") == 1


def test_without_a_command_there_is_help() -> None:
    outcome = run()
    assert outcome.code == 0
    assert "simulate" in outcome.out
    assert run("--version").out == f"cpp-chunk {cpp_chunk.__version__}\n"


def test_as_a_process() -> None:
    arguments = [sys.executable, "-m", "cpp_chunk.cli", "plan", "--prompt-tokens", "x"]
    wrong = subprocess.run(arguments, check=False, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert wrong.stdout == ""
    assert "Traceback" not in wrong.stderr
    assert wrong.stderr.startswith("cpp-chunk: --prompt-tokens is 'x'")
    right = subprocess.run(
        [*arguments[:4], *KIMI, "-S", "4", "--prompt-tokens", "8k", "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(right.stdout)["prompts"][0]["prompt_tokens"] == 8192
    assert right.stderr == ""


def test_import_brings_in_nothing_of_the_command() -> None:
    program = (
        "import sys, cpp_chunk, cpp_chunk.plugin; "
        "sys.exit(bool({'typer', 'rich', 'plotly'} & {m.split('.')[0] for m in sys.modules}))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
