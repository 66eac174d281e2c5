"""`cpp-chunk simulate`: workloads, policies side by side, and what it writes."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING

import cpp_chunk
import pytest
from command import KIMI, KIMI_UNEVEN, complaint, run

if TYPE_CHECKING:
    from pathlib import Path

STAGE = cpp_chunk.LatencyModel(
    quadratic=6.5e-7, cross=6.5e-7, linear=6.03e-3, context=5.39e-4, constant=26.1
)
LONE = ("simulate", *KIMI, "-S", 4, "--prompt-tokens", "128k", "--requests", 1)


def test_published_fixed_sizes() -> None:
    sizes = {32768: 14896, 8192: 10121, 2048: 12286}
    policies = [word for size in sizes for word in ("--policy", f"fixed={size}")]
    result = run(*LONE, *policies, "--json").json
    for policy, ttft_ms in zip(result["policies"], sizes.values(), strict=True):
        assert policy["ttft_ms"]["mean"] == pytest.approx(ttft_ms, rel=0.01)


def test_json_is_what_the_library_says(tmp_path: Path) -> None:
    rows = [
        {"prompt_tokens": 20000, "output_tokens": 5},
        {"prompt_tokens": 50000, "arrival_ms": 100.5, "cached_tokens": 16000},
    ]
    path = tmp_path / "requests.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    result = run(
        *("simulate", *KIMI, "-S", 4, "--workload", path, "--transfer-ms", 2),
        *("--max-in-flight", 3, "--max-num-seqs", 7, "--concurrency", 2),
        *("--max-num-batched-tokens", "16k", "--policy", "fixed=4096", "--policy", "dynamic"),
        "--json",
    ).json
    pipeline = cpp_chunk.SimulatedPipeline(
        [STAGE] * 4,
        max_num_batched_tokens=16384,
        max_num_seqs=7,
        gap_ms=17.5,
        transfer_ms=2,
        max_in_flight=3,
        max_concurrency=2,
    )
    requests = [
        cpp_chunk.SimulatedRequest(20000, output_tokens=5),
        cpp_chunk.SimulatedRequest(50000, arrival_ms=100.5, cached_tokens=16000),
    ]
    planner = cpp_chunk.ChunkPlanner(
        [STAGE.with_overhead(17.5)] * 4, max_chunk_tokens=16384, alignment=16, max_in_flight=3
    )
    for shown, policy in zip(
        result["policies"], [cpp_chunk.FixedPolicy(4096), planner], strict=True
    ):
        expected = cpp_chunk.simulate(pipeline, requests, policy)
        assert shown["ttft_ms"]["mean"] == pytest.approx(expected.ttft_ms.mean)
        assert shown["inter_token_ms"]["p99"] == pytest.approx(expected.inter_token_ms.p99)
        assert shown["makespan_ms"] == pytest.approx(expected.makespan_ms)
        assert shown["bubble_share"] == pytest.approx(list(expected.bubble_share))
        assert shown["num_steps"] == expected.num_steps
        assert shown["tried"] == []
    assert result["num_requests"] == 2
    assert result["prompt_tokens"] == 70000
    assert result["cached_tokens"] == 16000
    assert "seed" not in result


def test_csv_and_json_lines_are_alike(tmp_path: Path) -> None:
    csv_path, json_path = tmp_path / "requests.csv", tmp_path / "requests.jsonl"
    csv_path.write_text("prompt_tokens,arrival_ms,output_tokens\n9000,5,\n7000,,3\n", "utf-8")
    json_path.write_text(
        '{"prompt_tokens": 9000, "arrival_ms": 5}\n{"prompt_tokens": 7000, "output_tokens": 3}\n',
        "utf-8",
    )
    results = [
        run("simulate", *KIMI, "-S", 2, "--workload", path, "--policy", "dynamic", "--json").json
        for path in (csv_path, json_path)
    ]
    assert results[0] == results[1]
    assert results[0]["policies"][0]["inter_token_ms"]["count"] == 2


def test_default_compares_the_best_of_each() -> None:
    outcome = run(
        *("simulate", *KIMI, "-S", 4, "--prompt-tokens", "uniform:4k-128k", "--requests", 8),
        *("--concurrency", 2, "--json"),
    )
    policies = {policy["policy"]: policy for policy in outcome.json["policies"]}
    assert list(policies) == ["dynamic", "fixed", "sglang", "vllm-ascend", "atom"]
    assert policies["dynamic"]["base_tokens"] is None
    assert len(policies["fixed"]["tried"]) == 15
    for name in ("sglang", "vllm-ascend", "atom"):
        tried = {one["base_tokens"]: one["mean_ttft_ms"] for one in policies[name]["tried"]}
        assert list(tried) == [2048, 4096, 8192, 16384, 32768]
        assert policies[name]["ttft_ms"]["mean"] == min(tried.values())
        assert tried[policies[name]["base_tokens"]] == min(tried.values())
    assert outcome.err == ""


def test_bases_stay_within_the_cap() -> None:
    result = run(*LONE, "--max-num-batched-tokens", "4k", "--json").json
    for policy in result["policies"]:
        assert all(tried["base_tokens"] <= 4096 for tried in policy["tried"])


def test_bases_follow_short_prompts() -> None:
    arguments = ("simulate", *KIMI, "-S", 2, "--prompt-tokens", "9000", "--requests", 1)
    result = run(*arguments, "--policy", "sglang", "--json").json
    tried = [one["base_tokens"] for one in result["policies"][0]["tried"]]
    assert tried == [512, 1024, 2048, 4096, 8192]


def test_table() -> None:
    out = run(*LONE, "--policy", "dynamic", "--policy", "fixed=8192", "--policy", "terapipe").out
    assert "1 request, 131,072 prompt tokens, at most 1 at once" in out
    assert re.search(r"fixed=8192 +│ +10\.\d\d s", out)
    assert "terapipe" in out
    # Nothing is decoded.
    assert "inter-token" not in out
    assert "inter-token" in run(*LONE, "--output-tokens", 2, "--policy", "fixed=8192").out
    # A mean of no values is none at all.
    [policy] = run(*LONE, "--policy", "dynamic", "--json").json["policies"]
    assert policy["inter_token_ms"] is None


def test_the_title_and_the_note_say_what_was_cached() -> None:
    arguments = (*LONE, "--policy", "fixed=8192")
    assert "cached" not in run(*arguments).out
    out = run(*arguments, "--prefix-hit-rate", 0.5).out
    assert "1 request, 131,072 prompt tokens, of which 65,536 cached, at most 1 at once" in out
    assert "Tokens that were cached are not in prompt tokens/s." in " ".join(out.split())


def test_the_note_says_what_figures_mean() -> None:
    note = " ".join(run(*LONE, "--policy", "dynamic").out.split())
    assert "TTFT is from when a request entered" in note
    assert "one number where all stages have the same" in note


def test_fixed_sizes_are_tried_up_to_the_cap() -> None:
    arguments = (*LONE, "--max-num-batched-tokens", "128k", "--policy", "fixed", "--json")
    [policy] = run(*arguments).json["policies"]
    assert [one["base_tokens"] for one in policy["tried"]][-2:] == [98304, 131072]


def test_exact_programme_is_not_beaten_by_much() -> None:
    result = run(*LONE, "--policy", "dynamic", "--policy", "terapipe", "--json").json
    ours, exact = (policy["ttft_ms"]["mean"] for policy in result["policies"])
    assert ours <= 1.01 * exact


def test_seed_and_arrivals() -> None:
    arguments = (
        *("simulate", *KIMI, "-S", 2, "--prompt-tokens", "uniform:1k-8k", "--requests", 20),
        *("--request-rate", 2, "--prefix-hit-rate", 0.5, "--policy", "fixed=2k", "--json"),
    )
    result = run(*arguments).json
    assert result == run(*arguments).json
    assert result["seed"] == 0
    assert result["max_concurrency"] is None
    assert result != run(*arguments, "--seed", 1).json
    # Twenty arrivals at two a second.
    assert 5e3 < result["policies"][0]["makespan_ms"] < 20e3
    cold = run(*arguments, "--prefix-hit-rate", 0).json
    assert cold["policies"][0]["ttft_ms"]["mean"] > result["policies"][0]["ttft_ms"]["mean"]
    assert run(*arguments, "--prefix-hit-rate", 1).code == 0


def test_page(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    outcome = run(
        *("simulate", *KIMI_UNEVEN, "--prompt-tokens", "uniform:1k-64k", "--requests", 12),
        *("--concurrency", 3, "--output-tokens", 8, "--policy", "dynamic"),
        *("--policy", "fixed=4096", "--policy", "fixed=1024", "--html", path),
    )
    assert outcome.code == 0
    page = path.read_text(encoding="utf-8")
    assert not re.search(r"<(?:script|link|img)[^>]*(?:src|href)=", page)
    assert "Mean time to first token" in page
    assert "sooner than the best of the others" in page
    assert "fixed=1024" in page
    assert "<th>stage 3</th>" in page
    assert "12 requests with" in page
    # Nothing of the template is left over.
    assert not re.search(r"\$(?:style|headline|gantt|model|summary|tried)\b", page)


def test_page_without_plotly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == "plotly"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "plotly", None)
    said = complaint(*LONE, "--policy", "dynamic", "--html", tmp_path / "page.html")
    assert "plotly is not installed" in said
    assert "pip install 'cpp-chunk[report]'" in said
    assert not (tmp_path / "page.html").exists()


MADE_UP = ("simulate", *KIMI, "-S", 2, "--prompt-tokens", "8k", "--requests", 2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("simulate", *KIMI, "-S", 2), "Neither --workload nor --prompt-tokens is given"),
        ((*MADE_UP, "--workload", "x"), "--requests is given beside --workload: allowed is one of"),
        (
            (*MADE_UP, "--concurrency", 2, "--request-rate", 1),
            "--concurrency and --request-rate are",
        ),
        ((*MADE_UP, "--concurrency", 0), "--concurrency is '0': allowed is a whole number from 1"),
        ((*MADE_UP, "--request-rate", 0), "--request-rate is '0': allowed is a finite number of"),
        ((*MADE_UP, "--prefix-hit-rate", 1.1), "--prefix-hit-rate is '1.1': allowed is a number f"),
        (
            (*MADE_UP, "--output-tokens", 0),
            "--output-tokens is '0': allowed is a number of tokens from 1 (1, 256), uniform:LOW-",
        ),
        ((*MADE_UP, "--policy", "best"), "--policy is 'best': allowed is dynamic, fixed[=TOKENS],"),
        (
            (*MADE_UP, "--policy", "dynamic=4"),
            "--policy is 'dynamic=4': allowed is dynamic, fixed[",
        ),
        (
            (*MADE_UP, "--policy", "fixed=0"),
            "--policy is 'fixed=0': TOKENS is '0', allowed is a whole number from 1, such as 8192",
        ),
        (
            (*MADE_UP, "--policy", "fixed=x"),
            "--policy is 'fixed=x': TOKENS is 'x', allowed is a whole number from 1, such as 8192",
        ),
        ((*MADE_UP, "--transfer-ms", -1), "--transfer-ms is '-1': allowed is a finite number of"),
        ((*MADE_UP, "--max-in-flight", 0), "--max-in-flight is '0': allowed is a whole number fro"),
        ((*MADE_UP, "--max-num-seqs", 0), "--max-num-seqs is '0': allowed is a whole number from"),
        (
            ("simulate", *KIMI_UNEVEN, "--prompt-tokens", "8k", "--policy", "terapipe"),
            "--policy is 'terapipe' with unequal stages: allowed is with equal ones.",
        ),
        ((*MADE_UP, "--policy", "dynamic", "--html", "/no/such"), "--html is '/no/such': allowed"),
    ],
)
def test_a_wrong_input_gets_one_sentence(arguments: tuple[object, ...], sentence: str) -> None:
    assert complaint(*arguments).startswith(sentence)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", " is empty: allowed is one request or more."),
        ("prompt_tokens\n", " is empty: allowed is one request or more."),
        (
            "output_tokens\n5\n",
            " line 2: prompt_tokens is missing. Known are prompt_tokens, arrival_ms, o",
        ),
        (
            "prompt_tokens,tokens\n5,\n",
            " line 1: 'tokens' is no known field: allowed are prompt_tokens, arrival_ms, output_t",
        ),
        (
            '{"prompt_tokens": 5}\n{"prompt_tokens": 8192, "foo": 2}\n',
            " line 2: 'foo' is no known field: allowed are prompt_tokens, arrival_ms, output_tok",
        ),
        ("prompt_tokens\n5,6\n", " line 2 has more cells than the first line: allowed are as m"),
        ("prompt_tokens\nx\n", " line 2: prompt_tokens is 'x': allowed is a whole number from 1"),
        ("prompt_tokens\n0\n", " line 2: prompt_tokens is '0': allowed is a whole number from 1"),
        ('{"prompt_tokens": 5}\n[]\n', " line 2 is no JSON object: allowed is one with prompt_tok"),
        (
            '{"prompt_tokens": 5}\n{"pro',
            " line 2 is no JSON object: allowed is one with prompt_tok",
        ),
        (
            '{"prompt_tokens": 5, "arrival_ms": -1}',
            " line 1: arrival_ms is -1: allowed is a finite number of milliseconds of at least 0.",
        ),
        (
            '{"prompt_tokens": 5, "cached_tokens": 5}',
            " line 1: cached_tokens is 5: allowed is less than prompt_tokens, 5.",
        ),
        (
            '{"prompt_tokens": 5, "output_tokens": 0}',
            " line 1: output_tokens is 0: allowed is a wh",
        ),
    ],
)
def test_a_wrong_workload_gets_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "requests"
    path.write_text(text, encoding="utf-8")
    said = complaint("simulate", *KIMI, "-S", 2, "--workload", path)
    assert said.startswith(f"--workload {path}{sentence}")


def test_a_missing_workload_gets_a_sentence() -> None:
    said = complaint("simulate", *KIMI, "-S", 2, "--workload", "/no/such")
    assert said.startswith("--workload is '/no/such': allowed is a file that can be read (No such")
