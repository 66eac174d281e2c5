"""`cpp-chunk doctor`: whether dynamic chunks would run here, and if not, what to do."""

import importlib.util
import json
from typing import Annotated

import typer
from rich.console import Console

from cpp_chunk.cli.doctor import checks
from cpp_chunk.cli.doctor.findings import DoctorReport
from cpp_chunk.cli.doctor.probe import EngineAnswer, ask_engine
from cpp_chunk.cli.doctor.view import print_report
from cpp_chunk.cli.shared import options
from cpp_chunk.cli.shared.console import result_console
from cpp_chunk.records.last_run import read_last_run
from cpp_chunk.records.profile_store import ProfileStore, StoredProfile

EXAMPLES = """\
[bold]Examples[/]

Is the plugin found, and does it know this vLLM?

  cpp-chunk doctor

Would this server choose its chunks dynamically? What follows -- are the
arguments of vllm serve; no engine is started:

  cpp-chunk doctor -- MODEL --pipeline-parallel-size 2 \\
    --additional-config '{"profiling_chunk_config": {"enabled": true}}'
"""


def doctor(
    vllm_arguments: Annotated[
        list[str] | None,
        typer.Argument(
            help="After --: MODEL and options, as for `vllm serve`.",
            metavar="-- VLLM_ARGUMENTS",
            show_default=False,
        ),
    ] = None,
    *,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show vLLM's log, on standard error.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Tell whether dynamic chunks would run here: exit code 0 only if so, else 1.

    vLLM is asked in a process of its own, and no engine is started.
    """
    arguments = vllm_arguments or []
    has_vllm = importlib.util.find_spec("vllm") is not None
    engine = _ask(arguments, verbose=verbose) if has_vllm else None
    report = DoctorReport(
        [
            checks.installed(checks.vllm_distributions(), engine),
            checks.plugin(engine),
            checks.shape(engine),
            checks.settings(engine),
            checks.profile(engine, _profiles()),
            checks.last_run(read_last_run(), engine),
        ]
    )
    if as_json:
        print(json.dumps(report.to_json(), indent=1))
    else:
        print_report(result_console(), report, with_arguments=bool(arguments))
    if not report.is_well:
        raise typer.Exit(1)


def _ask(arguments: list[str], *, verbose: bool) -> EngineAnswer:
    console = Console(stderr=True)
    if verbose or not console.is_terminal:
        return ask_engine(arguments, verbose=verbose)
    # Importing vLLM takes ten seconds and more.
    with console.status("asking vLLM"):
        return ask_engine(arguments, verbose=False)


def _profiles() -> list[StoredProfile]:
    try:
        return ProfileStore.of_user().entries()
    except OSError:
        # A start would not find any there either.
        return []
