"""`cpp-chunk plan`: how a prompt goes through a pipeline."""

import json
from typing import Annotated

from cpp_chunk.cli.plan import view
from cpp_chunk.cli.plan.prompt_plan import (
    NUM_DRAWS,
    layers_of_stages,
    named_lengths,
    plan_prompt,
)
from cpp_chunk.cli.shared import options
from cpp_chunk.cli.shared.console import result_console
from cpp_chunk.cli.shared.distributions import PROMPT_LENGTHS, Constant
from cpp_chunk.cli.shared.errors import CommandError
from cpp_chunk.cli.shared.latency_source import load_pipeline, save_pipeline
from cpp_chunk.cli.shared.limits import limits_of_options
from cpp_chunk.cli.shared.pipeline_view import print_pipeline
from cpp_chunk.cli.shared.values import LAYERS, LayerPartition, option, tokens_from, whole_from

EXAMPLES = """\
[bold]Examples[/]

A 128k prompt through four stages, as the model of Kimi-K2.5 on MI355X was
published:

  STAGE=quadratic=6.5e-7,cross=6.5e-7,linear=6.03e-3
  STAGE=$STAGE,context=5.39e-4,constant=26.1
  cpp-chunk plan --coefficients $STAGE --gap-ms 17.5 -S 4 \\
    --prompt-tokens 128k

From a serving engine's trace; the layer split that evens out the stages:

  cpp-chunk plan --profile trace.jsonl --prompt-tokens 1m --layers 61

From measured chunks, for prompts of many lengths; the fit is kept:

  cpp-chunk plan --points chunks.csv --save-profile profile.json \\
    --prompt-tokens uniform:4k-64k
"""


def plan(
    *,
    prompt_tokens: options.PromptTokens = None,
    num_computed_tokens: Annotated[
        int,
        option(
            "--num-computed-tokens",
            kind=tokens_from(0),
            help="Of the prompt's front: found in the prefix cache.",
            metavar="TOKENS",
            panel=options.WORKLOAD,
        ),
    ] = 0,
    seed: options.Seed = 0,
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
    max_in_flight: options.MaxInFlight = None,
    layers: Annotated[
        int | None,
        option(
            "--layers",
            kind=whole_from(1, 100_000),
            help="Layers of the model, split among the stages as vLLM does: for the hint on the "
            "layer split.",
            metavar="LAYERS",
            panel=options.PIPELINE,
            show_default=False,
        ),
    ] = None,
    layer_partition: Annotated[
        LayerPartition | None,
        option(
            "--layer-partition",
            kind=LAYERS,
            help="Layers of each stage, where VLLM_PP_LAYER_PARTITION was set.",
            metavar="N,N,...",
            panel=options.PIPELINE,
            show_default=False,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Plan a prompt's chunks: step time to aim at, chunks, predicted time to first token (TTFT).

    The bound beside it is what no chunk sizes can beat, without multiples
    or a cap: for equal stages (sqrt(W) + sqrt((S-1)c))^2, with W a stage's
    work that no cut changes and c what each step costs, the constant and the
    gap. Where history costs (context above 0) it lies a little below what
    can be reached, of unequal stages well below.
    """
    if prompt_tokens is None:
        raise CommandError(
            f"--prompt-tokens is not given: it is needed, as {PROMPT_LENGTHS.allowed}."
        )
    pipeline = load_pipeline(
        profile=profile,
        coefficients=coefficients,
        points=points,
        where=where or (),
        num_stages=pipeline_parallel_size,
        gap_ms=gap_ms,
    )
    limits = limits_of_options(
        max_num_batched_tokens, min_chunk, block_size, multiple_of, max_step_ms
    )
    stage_layers = layers_of_stages(layers, layer_partition, len(pipeline.stages))
    plans = [
        plan_prompt(
            pipeline,
            limits,
            tokens,
            name=name,
            num_computed_tokens=num_computed_tokens,
            max_in_flight=max_in_flight,
            layers=stage_layers,
        )
        for name, tokens in named_lengths(prompt_tokens, seed)
    ]
    if save_profile is not None:
        save_pipeline(save_profile, pipeline)
    if as_json:
        result = {
            **pipeline.to_json(),
            "limits": limits.to_json(),
            "num_computed_tokens": num_computed_tokens,
            "prompts": [one.to_json() for one in plans],
        }
        if not isinstance(prompt_tokens, Constant):
            result["draws"] = {
                "distribution": str(prompt_tokens),
                "count": NUM_DRAWS,
                "seed": seed,
            }
        print(json.dumps(result, indent=1))
        return
    console = result_console()
    print_pipeline(console, pipeline, limits)
    if isinstance(prompt_tokens, Constant):
        view.print_plan(console, plans[0], num_computed_tokens)
    else:
        view.print_plans(console, plans, str(prompt_tokens), seed)
    if stage_layers is not None:
        view.print_layer_split(console, plans[-1], stage_layers)
