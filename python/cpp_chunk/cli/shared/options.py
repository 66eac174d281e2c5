"""The options that both commands take: the pipeline's model and the engine's limits."""

from pathlib import Path
from typing import Annotated

import typer

from cpp_chunk._core import LatencyModel
from cpp_chunk.cli.shared.distributions import PROMPT_LENGTHS, Lengths
from cpp_chunk.cli.shared.latency_source import COEFFICIENTS
from cpp_chunk.cli.shared.points_file import RowFilter
from cpp_chunk.cli.shared.values import (
    MAX_STAGES,
    MILLISECONDS,
    POSITIVE_MILLISECONDS,
    Kind,
    option,
    tokens_from,
    whole_from,
)

MODEL = "Latency model (one of three sources)"
PIPELINE = "Pipeline and limits"
WORKLOAD = "Workload"
OUTPUT = "Output"

# Largest chunk where nobody gives a cap.
DEFAULT_MAX_TOKENS = 32768
# vLLM's KV block.
DEFAULT_BLOCK_TOKENS = 16


def _row_filter(text: str) -> RowFilter:
    column, separator, value = text.partition("=")
    if not separator or not column:
        raise ValueError(text)
    return RowFilter(column, value)


Profile = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        help="JSON profile file, or a trace that the engine wrote to CPP_CHUNK_TRACE_FILE.",
        metavar="FILE",
        rich_help_panel=MODEL,
        show_default=False,
    ),
]
Coefficients = Annotated[
    list[LatencyModel] | None,
    option(
        "--coefficients",
        kind=COEFFICIENTS,
        help="linear=6e-3,constant=26.1 and so on, in ms; also quadratic, cross, context. "
        "Once for all stages, or once a stage.",
        metavar="NAME=MS,...",
        panel=MODEL,
        show_default=False,
    ),
]
Points = Annotated[
    Path | None,
    typer.Option(
        "--points",
        help="CSV of measured chunks: num_tokens, num_computed_tokens, stage0_ms, stage1_ms ... "
        "Each stage is fitted.",
        metavar="FILE",
        rich_help_panel=MODEL,
        show_default=False,
    ),
]
Where = Annotated[
    list[RowFilter] | None,
    option(
        "--where",
        kind=Kind(_row_filter, "COLUMN=VALUE, such as model=tiny"),
        help="Take only the rows of --points with this value in this column (repeatable).",
        metavar="COLUMN=VALUE",
        panel=MODEL,
        show_default=False,
    ),
]
SaveProfile = Annotated[
    Path | None,
    typer.Option(
        "--save-profile",
        help="Write the model in use to a profile file.",
        metavar="FILE",
        rich_help_panel=MODEL,
        show_default=False,
    ),
]
GapMs = Annotated[
    float | None,
    option(
        "--gap-ms",
        kind=MILLISECONDS,
        help="What the engine needs between two steps, beyond a stage's compute; replaces the "
        "profile's. 0 without either.",
        metavar="MS",
        panel=MODEL,
        show_default=False,
    ),
]
PipelineParallelSize = Annotated[
    int | None,
    option(
        "--pipeline-parallel-size",
        "-S",
        kind=whole_from(1, MAX_STAGES),
        help="Stages. Needed where one model stands for all of them.",
        metavar="STAGES",
        panel=PIPELINE,
        show_default=False,
    ),
]
MaxNumBatchedTokens = Annotated[
    int,
    option(
        "--max-num-batched-tokens",
        kind=tokens_from(1),
        help="Tokens that a step may hold: the cap of every chunk.",
        metavar="TOKENS",
        panel=PIPELINE,
    ),
]
MinChunk = Annotated[
    int,
    option(
        "--min-chunk",
        kind=tokens_from(1),
        help="Floor of a step's first chunk.",
        metavar="TOKENS",
        panel=PIPELINE,
    ),
]
BlockSize = Annotated[
    int,
    option(
        "--block-size",
        kind=tokens_from(1),
        help="KV block: chunks end on multiples of it.",
        metavar="TOKENS",
        panel=PIPELINE,
    ),
]
MultipleOf = Annotated[
    list[int] | None,
    option(
        "--multiple-of",
        kind=tokens_from(1),
        help="Preferred multiples of a chunk, where they cost little: MoE tile, tensor-parallel "
        "ranks with sequence parallelism (repeatable).",
        metavar="TOKENS",
        panel=PIPELINE,
        show_default=False,
    ),
]
MaxInFlight = Annotated[
    int | None,
    option(
        "--max-in-flight",
        kind=whole_from(1, 2 * MAX_STAGES),
        help="Steps scheduled that have not left the last stage.",
        metavar="STEPS",
        panel=PIPELINE,
        show_default="the stages",
    ),
]
MaxStepMs = Annotated[
    float | None,
    option(
        "--max-step-ms",
        kind=POSITIVE_MILLISECONDS,
        help="No step longer than this: bounds the time between two tokens of a decode.",
        metavar="MS",
        panel=PIPELINE,
        show_default="none",
    ),
]
Seed = Annotated[
    int,
    option(
        "--seed",
        kind=whole_from(0, 2**63 - 1),
        help="Of everything that is drawn: the same seed, the same numbers.",
        metavar="NUMBER",
        panel=WORKLOAD,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print JSON and nothing else.", rich_help_panel=OUTPUT),
]


PromptTokens = Annotated[
    Lengths | None,
    option(
        "--prompt-tokens",
        kind=PROMPT_LENGTHS,
        help="Length of the prompts: 131072, 128k, uniform:4096-65536, "
        "normal:mean=32k,std=32k,min=4k,max=64k, lognormal:mean=8k,std=16k.",
        metavar="LENGTH",
        panel=WORKLOAD,
        show_default=False,
    ),
]
