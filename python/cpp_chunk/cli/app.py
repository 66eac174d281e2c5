"""The command's entry: which commands there are, and how it ends when an input is wrong."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from cpp_chunk import __version__
from cpp_chunk._core import Error
from cpp_chunk.cli.calibrate import command as calibrate
from cpp_chunk.cli.doctor import command as doctor
from cpp_chunk.cli.plan import command as plan
from cpp_chunk.cli.profile import command as profile
from cpp_chunk.cli.shared.errors import CommandError
from cpp_chunk.cli.shared.help import with_examples
from cpp_chunk.cli.simulate import command as simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

_WRONG_INPUT = 2
_INTERRUPTED = 130

# Of what Typer itself finds wrong: in older releases it is a class of click's.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="cpp-chunk",
    help="Chunked prefill under pipeline parallelism: plan a prompt's chunks, or simulate a "
    "workload, from a latency model, with neither vLLM nor a device; look after an engine's "
    "profiles, and ask whether dynamic chunks would run here.",
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(cls=with_examples(plan.EXAMPLES))(plan.plan)
app.command(cls=with_examples(simulate.EXAMPLES))(simulate.simulate)
app.command(cls=with_examples(calibrate.EXAMPLES))(calibrate.calibrate)
app.command(cls=with_examples(doctor.EXAMPLES))(doctor.doctor)
app.add_typer(profile.app, name="profile")


def _show_version(value: bool) -> None:  # noqa: FBT001
    if value:
        print(f"cpp-chunk {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: bool = typer.Option(
        False,  # noqa: FBT003
        "--version",
        help="Print the version and end.",
        callback=_show_version,
        is_eager=True,
    ),
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: without the program's name; by default the process's own.

    Returns:
        The exit code: 2, and one sentence on standard error, for a wrong input.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = typer.main.get_command(app)
    try:
        code = command.main(
            # Who asks for nothing wants to know what there is.
            args=given or ["--help"],
            prog_name="cpp-chunk",
            standalone_mode=False,
        )
    except (CommandError, Error) as error:
        return _complain(str(error))
    except typer.Abort:
        return _INTERRUPTED
    except _UsageError as error:
        return _complain(error.format_message())  # type: ignore[attr-defined]
    return code if isinstance(code, int) else 0


def _complain(sentence: str) -> int:
    print(f"cpp-chunk: {sentence}", file=sys.stderr)
    return _WRONG_INPUT
