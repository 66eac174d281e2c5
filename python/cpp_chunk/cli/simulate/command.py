"""`cpp-chunk simulate`: policies side by side on a simulated pipeline."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cpp_chunk._core import SimulatedPipeline, SimulatedRequest
from cpp_chunk.cli.shared import options
from cpp_chunk.cli.shared.console import result_console
from cpp_chunk.cli.shared.distributions import OUTPUT_LENGTHS, Constant, Lengths
from cpp_chunk.cli.shared.errors import CommandError, unwritable
from cpp_chunk.cli.shared.latency_source import Pipeline, load_pipeline, save_pipeline
from cpp_chunk.cli.shared.limits import limits_of_options
from cpp_chunk.cli.shared.pipeline_view import print_pipeline
from cpp_chunk.cli.shared.values import MILLISECONDS, RATE, SHARE, option, whole_from
from cpp_chunk.cli.simulate.comparison import PolicyRun, compare_policies
from cpp_chunk.cli.simulate.policies import DEFAULT_POLICIES, POLICIES, PolicyMaker, PolicySetting
from cpp_chunk.cli.simulate.view import (
    comparison_headings,
    comparison_rows,
    note_text,
    print_comparison,
)
from cpp_chunk.cli.simulate.workload import SyntheticWorkload, read_workload
from cpp_chunk.report.chrome_trace import write_trace
from cpp_chunk.report.page import MissingPlotlyError
from cpp_chunk.report.simulation_page import PolicyPicture, SimulationPage, write_simulation_page
from cpp_chunk.report.words import grouped, prompt_tokens_text

EXAMPLES = """\
[bold]Examples[/]

All policies on 50 prompts of mixed lengths, four at once, with pictures (a
profile has its stages; add -S where it holds one that stands for all):

  cpp-chunk simulate --profile profile.json --requests 50 --concurrency 4 \\
    --prompt-tokens uniform:4k-128k --output-tokens 64 --html page.html

Our chunks against two fixed sizes, on a recorded workload, for Perfetto:

  cpp-chunk simulate --profile trace.jsonl --workload requests.csv \\
    --policy dynamic --policy fixed=8192 --policy fixed=2048 \\
    --trace trace.json
"""

_DEFAULT_REQUESTS = 100
_MAX_COUNT = 10**7


def simulate(
    *,
    workload: Annotated[
        Path | None,
        typer.Option(
            "--workload",
            help="JSON lines or CSV: prompt_tokens and, if wanted, arrival_ms, output_tokens, "
            "cached_tokens.",
            metavar="FILE",
            rich_help_panel=options.WORKLOAD,
            show_default=False,
        ),
    ] = None,
    requests: Annotated[
        int | None,
        option(
            "--requests",
            kind=whole_from(1, _MAX_COUNT),
            help="Made-up requests, in place of --workload.",
            metavar="NUMBER",
            panel=options.WORKLOAD,
            show_default=str(_DEFAULT_REQUESTS),
        ),
    ] = None,
    prompt_tokens: options.PromptTokens = None,
    output_tokens: Annotated[
        Lengths | None,
        option(
            "--output-tokens",
            kind=OUTPUT_LENGTHS,
            help="Tokens that each gets; a number or a distribution.",
            metavar="LENGTH",
            panel=options.WORKLOAD,
            show_default="1",
        ),
    ] = None,
    prefix_hit_rate: Annotated[
        float | None,
        option(
            "--prefix-hit-rate",
            kind=SHARE,
            help="Share of each prompt that the prefix cache holds, in whole blocks.",
            metavar="SHARE",
            panel=options.WORKLOAD,
            show_default="0",
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        option(
            "--concurrency",
            kind=whole_from(1, _MAX_COUNT),
            help="Requests inside at once: the next comes when one leaves. Without --workload and "
            "--request-rate, 1.",
            metavar="NUMBER",
            panel=options.WORKLOAD,
            show_default=False,
        ),
    ] = None,
    request_rate: Annotated[
        float | None,
        option(
            "--request-rate",
            kind=RATE,
            help="Arrivals a second, in place of --concurrency: a Poisson process.",
            metavar="PER_S",
            panel=options.WORKLOAD,
            show_default=False,
        ),
    ] = None,
    seed: options.Seed = 0,
    policy: Annotated[
        list[PolicySetting] | None,
        option(
            "--policy",
            kind=POLICIES,
            help="dynamic, fixed, sglang, vllm-ascend, atom, terapipe (repeatable); fixed=8192 "
            "gives the base, otherwise the one with the lowest mean TTFT of a sweep is taken. "
            "terapipe is the exact plan of a lone prompt, for equal stages.",
            metavar="NAME[=TOKENS]",
            panel="Policies",
            show_default="all but terapipe",
        ),
    ] = None,
    profile: options.Profile = None,
    coefficients: options.Coefficients = None,
    points: options.Points = None,
    where: options.Where = None,
    save_profile: options.SaveProfile = None,
    gap_ms: options.GapMs = None,
    pipeline_parallel_size: options.PipelineParallelSize = None,
    max_num_batched_tokens: options.MaxNumBatchedTokens = options.DEFAULT_MAX_TOKENS,
    min_chunk: options.MinChunk = 1,
    block_size: options.BlockSize = options.DEFAULT_BLOCK_TOKENS,
    multiple_of: options.MultipleOf = None,
    max_step_ms: options.MaxStepMs = None,
    transfer_ms: Annotated[
        float,
        option(
            "--transfer-ms",
            kind=MILLISECONDS,
            help="A step's way from one stage to the next.",
            metavar="MS",
            panel=options.PIPELINE,
        ),
    ] = 0.0,
    max_in_flight: options.MaxInFlight = None,
    max_num_seqs: Annotated[
        int,
        option(
            "--max-num-seqs",
            kind=whole_from(1, _MAX_COUNT),
            help="Requests under way at once.",
            metavar="NUMBER",
            panel=options.PIPELINE,
        ),
    ] = 256,
    as_json: options.Json = False,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            help="Write a page with the pipelines in time and the distribution of TTFT.",
            metavar="FILE",
            rich_help_panel=options.OUTPUT,
            show_default=False,
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            "--trace",
            help="Write a trace that ui.perfetto.dev and chrome://tracing open.",
            metavar="FILE",
            rich_help_panel=options.OUTPUT,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Simulate a workload under several policies: TTFT, inter-token time, tokens/s, bubbles."""
    pipeline = load_pipeline(
        profile=profile,
        coefficients=coefficients,
        points=points,
        where=where or (),
        num_stages=pipeline_parallel_size,
        gap_ms=gap_ms,
    )
    given = {
        "--requests": requests,
        "--prompt-tokens": prompt_tokens,
        "--output-tokens": output_tokens,
        "--prefix-hit-rate": prefix_hit_rate,
        "--request-rate": request_rate,
    }
    if workload is not None:
        _refuse_beside_workload(given)
        simulated_requests = read_workload(workload)
    else:
        concurrency = _concurrency(prompt_tokens, concurrency, request_rate)
        simulated_requests = SyntheticWorkload(
            num_requests=requests or _DEFAULT_REQUESTS,
            prompt_tokens=prompt_tokens or Constant(1),
            output_tokens=output_tokens or Constant(1),
            request_rate_per_s=request_rate,
            prefix_hit_rate=prefix_hit_rate or 0.0,
            block_tokens=block_size,
            seed=seed,
        ).requests()
    limits = limits_of_options(
        max_num_batched_tokens, min_chunk, block_size, multiple_of, max_step_ms
    )
    policies = tuple(dict.fromkeys(policy or DEFAULT_POLICIES))
    if not pipeline.is_even and any(one.name == "terapipe" for one in policies):
        raise CommandError(
            "--policy is 'terapipe' with unequal stages: allowed is with equal ones."
        )
    simulated_pipeline = SimulatedPipeline(
        pipeline.stages,
        max_num_batched_tokens=max_num_batched_tokens,
        max_num_seqs=max_num_seqs,
        gap_ms=pipeline.gap_ms,
        transfer_ms=transfer_ms,
        max_in_flight=max_in_flight,
        max_concurrency=concurrency,
    )
    longest_tokens = max(request.prompt_tokens for request in simulated_requests)
    runs = compare_policies(
        simulated_pipeline,
        simulated_requests,
        policies,
        PolicyMaker(pipeline, limits, longest_tokens, max_in_flight),
        record_steps=html is not None or trace is not None,
    )
    if save_profile is not None:
        save_pipeline(save_profile, pipeline)
    if html is not None:
        _write_page(html, pipeline, simulated_requests, runs)
    if trace is not None:
        _write_trace(trace, runs)
    if as_json:
        result: dict[str, Any] = {
            **pipeline.to_json(),
            "limits": limits.to_json(),
            "num_requests": len(simulated_requests),
            "prompt_tokens": _prompt_tokens(simulated_requests),
            "cached_tokens": _cached_tokens(simulated_requests),
            "max_concurrency": concurrency,
            "policies": [run.to_json() for run in runs],
        }
        if workload is None:
            result["seed"] = seed
        print(json.dumps(result, indent=1))
        return
    console = result_console()
    print_pipeline(console, pipeline, limits)
    console.print()
    print_comparison(
        console,
        runs,
        _title(simulated_requests, concurrency),
        has_cached=_cached_tokens(simulated_requests) > 0,
    )


def _refuse_beside_workload(made_up: dict[str, Any]) -> None:
    for name, value in made_up.items():
        if value is not None:
            raise CommandError(
                f"{name} is given beside --workload: allowed is one of them, since the file says "
                "which requests come and when."
            )


def _title(requests: list[SimulatedRequest], concurrency: int | None) -> str:
    noun = "request" if len(requests) == 1 else "requests"
    tokens = prompt_tokens_text(_prompt_tokens(requests), _cached_tokens(requests))
    inside = f", at most {grouped(concurrency)} at once" if concurrency else ""
    return f"{grouped(len(requests))} {noun}, {tokens}{inside}"


def _prompt_tokens(requests: list[SimulatedRequest]) -> int:
    return sum(request.prompt_tokens for request in requests)


def _cached_tokens(requests: list[SimulatedRequest]) -> int:
    return sum(request.cached_tokens for request in requests)


def _write_page(
    path: Path, pipeline: Pipeline, requests: list[SimulatedRequest], runs: list[PolicyRun]
) -> None:
    page = SimulationPage(
        policies=tuple(PolicyPicture(run.label, run.setting.name, run.result) for run in runs),
        stages=pipeline.stages,
        gap_ms=pipeline.gap_ms,
        prompt_tokens=_prompt_tokens(requests),
        cached_tokens=_cached_tokens(requests),
        headings=comparison_headings(runs),
        rows=tuple(comparison_rows(runs)),
        note=note_text(runs, has_cached=_cached_tokens(requests) > 0),
    )
    try:
        write_simulation_page(path, page)
    except MissingPlotlyError as error:
        raise CommandError(f"--html is {str(path)!r}, but {error}") from None
    except OSError as error:
        raise unwritable("--html", path, error) from None


def _write_trace(path: Path, runs: list[PolicyRun]) -> None:
    try:
        write_trace(path, {run.label: run.result.steps for run in runs})
    except OSError as error:
        raise unwritable("--trace", path, error) from None


def _concurrency(
    prompt_tokens: Lengths | None, concurrency: int | None, request_rate: float | None
) -> int | None:
    """Made-up requests come at a rate, or so many at once: one, where the user says nothing."""
    if prompt_tokens is None:
        raise CommandError(
            "Neither --workload nor --prompt-tokens is given: one of them is needed."
        )
    if concurrency is not None and request_rate is not None:
        raise CommandError(
            "--concurrency and --request-rate are both given: allowed is one of them."
        )
    return 1 if concurrency is None and request_rate is None else concurrency
