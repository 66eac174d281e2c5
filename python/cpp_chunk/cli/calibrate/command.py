"""`cpp-chunk calibrate`: the calibration workload, sent to a running server."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from cpp_chunk.cli.calibrate.random_prompts import random_prompts
from cpp_chunk.cli.calibrate.server_calibration import calibrate_server, check_figures
from cpp_chunk.cli.calibrate.view import print_calibration
from cpp_chunk.cli.shared import options
from cpp_chunk.cli.shared.console import result_console
from cpp_chunk.cli.shared.errors import CommandError, wrong_value
from cpp_chunk.cli.shared.values import SECONDS, option, tokens_from, whole_from

if TYPE_CHECKING:
    from cpp_chunk.cli.calibrate.openai_server import OpenAIServer

EXAMPLES = """\
[bold]Examples[/]

Five prompts of 16k tokens (fewer where the model takes fewer), one at a time:

  cpp-chunk calibrate http://localhost:8000

More and longer prompts, one line of figures for each:

  cpp-chunk calibrate http://localhost:8000 --prompts 10 \\
    --prompt-tokens 64k --json
"""

_SERVER = "Server"
_DEFAULT_PROMPT_TOKENS = 16 << 10
# Shorter prompts are no more than a block of the KV cache, and a step's overhead.
_MIN_PROMPT_TOKENS = 16
_MAX_PROMPTS = 10_000


def calibrate(
    *,
    url: Annotated[
        str,
        typer.Argument(
            help="The server's address, such as http://localhost:8000.",
            metavar="URL",
            show_default=False,
        ),
    ],
    prompt_tokens: Annotated[
        int | None,
        option(
            "--prompt-tokens",
            kind=tokens_from(_MIN_PROMPT_TOKENS),
            help="Length of every prompt.",
            metavar="TOKENS",
            panel=options.WORKLOAD,
            show_default="16k, or what max_model_len leaves",
        ),
    ] = None,
    prompts: Annotated[
        int,
        option(
            "--prompts",
            kind=whole_from(2, _MAX_PROMPTS),
            help="How many, one after the other.",
            metavar="NUMBER",
            panel=options.WORKLOAD,
        ),
    ] = 5,
    seed: options.Seed = 0,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Its name at the server; needed where there are several.",
            metavar="NAME",
            rich_help_panel=_SERVER,
            show_default=False,
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key",
            envvar="OPENAI_API_KEY",
            help="Sent with every request.",
            metavar="KEY",
            rich_help_panel=_SERVER,
            show_default=False,
        ),
    ] = None,
    timeout_s: Annotated[
        float,
        option(
            "--timeout-s",
            kind=SECONDS,
            help="Longest wait for an answer.",
            metavar="SECONDS",
            panel=_SERVER,
        ),
    ] = 600.0,
    as_json: options.Json = False,
) -> None:
    """Calibrate a running vLLM server: prompts of one length, all different, one at a time.

    Nothing else should run there meanwhile. The server refits its latency
    model from these prompts' steps as it does from any other's; this command
    brings them, and shows the prediction error and the time to first token
    (TTFT) of the first prompt and of the last.
    """
    # Loading the client takes a third of the time that the other commands need to start.
    from cpp_chunk.cli.calibrate.openai_server import OpenAIServer
    from cpp_chunk.cli.calibrate.server_url import server_url

    with OpenAIServer(server_url(url), api_key, timeout_s) as server:
        model = _served_model(server, model)
        num_tokens = _prompt_tokens(server, model, prompt_tokens)
        check_figures(server)
        token_ids = random_prompts(server, model, num_tokens, seed)
        runs = calibrate_server(server, model, token_ids, prompts)
    if as_json:
        result = {
            "url": server.url,
            "model": model,
            "prompt_tokens": num_tokens,
            "seed": seed,
            "prompts": [run.to_json() for run in runs],
        }
        print(json.dumps(result, indent=1))
        return
    print_calibration(result_console(), runs, num_tokens, model)


def _served_model(server: "OpenAIServer", wanted: str | None) -> str:
    served = server.model_ids()
    names = ", ".join(served)
    if wanted is None and len(served) > 1:
        raise CommandError(f"--model is not given: allowed is one of those served, {names}.")
    if wanted is not None and wanted not in served:
        raise wrong_value("--model", wanted, f"one of those served, {names}")
    return wanted or served[0]


def _prompt_tokens(server: "OpenAIServer", model: str, wanted: int | None) -> int:
    # One token is generated.
    most_tokens = server.tokenize(model, "How long may a prompt be?").max_model_len - 1
    if wanted is None:
        return min(most_tokens, _DEFAULT_PROMPT_TOKENS)
    if wanted > most_tokens:
        raise wrong_value(
            "--prompt-tokens",
            wanted,
            f"at most {most_tokens}, one below the server's max_model_len",
        )
    return wanted
