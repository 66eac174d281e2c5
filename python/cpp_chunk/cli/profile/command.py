"""`cpp-chunk profile`: the start-up profiles that engines of this user have remembered."""

import json
from typing import Annotated

import typer

from cpp_chunk.cli.profile import view
from cpp_chunk.cli.shared import options
from cpp_chunk.cli.shared.console import result_console
from cpp_chunk.cli.shared.errors import CommandError, wrong_value
from cpp_chunk.cli.shared.help import with_examples
from cpp_chunk.records.profile_store import ProfileStore, StoredProfile

app = typer.Typer(
    help="Profiles that engines have remembered: list, show, remove. They are in "
    "CPP_CHUNK_CACHE_DIR, by default in ~/.cache/cpp_chunk.",
    rich_markup_mode="rich",
)

_SHOW_EXAMPLES = """\
[bold]Examples[/]

The digest is in the list; its first digits are enough:

  cpp-chunk profile list
  cpp-chunk profile show 3fa1

What a 128k prompt would take on that deployment:

  cpp-chunk plan --prompt-tokens 128k \\
    --profile ~/.cache/cpp_chunk/profiles/3fa1c0ffee123456.json
"""


@app.callback(invoke_without_command=True)
def _without_command(context: typer.Context) -> None:
    # Who asks for nothing wants to know what there is.
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("list")
def list_profiles(*, as_json: options.Json = False) -> None:
    """List the remembered profiles."""
    entries = _entries(ProfileStore.of_user())
    if as_json:
        print(json.dumps([view.summary_json(entry) for entry in entries], indent=1))
        return
    view.print_list(result_console(), entries)


@app.command(cls=with_examples(_SHOW_EXAMPLES))
def show(
    digest: Annotated[
        str, typer.Argument(help="Of the profile; so many digits as only it begins with.")
    ],
    *,
    as_json: options.Json = False,
) -> None:
    """Show one profile: deployment, coefficients of each stage, measured passes."""
    entry = _chosen(_entries(ProfileStore.of_user()), digest)
    if entry.profile is None:
        raise CommandError(f"DIGEST is {digest!r}, of a file that is not used: {entry.problem}.")
    if as_json:
        print(json.dumps(view.profile_json(entry.path, entry.profile), indent=1))
        return
    view.print_profile(result_console(), entry.path, entry.profile)


@app.command()
def rm(
    digests: Annotated[
        list[str] | None,
        typer.Argument(help="Of the profiles; the first digits are enough.", metavar="DIGEST..."),
    ] = None,
    *,
    remove_all: Annotated[bool, typer.Option("--all", help="All that there are.")] = False,
) -> None:
    """Remove profiles: the next engine of that deployment is profiled anew."""
    if bool(digests) == remove_all:
        found = "both" if remove_all else "neither"
        raise CommandError(f"DIGEST and --all: {found} given, allowed is one of them.")
    store = ProfileStore.of_user()
    entries = _entries(store)
    # All are looked up before the first goes.
    chosen = entries if remove_all else [_chosen(entries, digest) for digest in digests or ()]
    for digest, path in {entry.digest: entry.path for entry in chosen}.items():
        try:
            store.remove(digest)
        except OSError as error:
            raise CommandError(f"{path} cannot be removed ({error.strerror}).") from None
        print(f"removed {digest}")
    if not chosen:
        print("no profiles are remembered")


def _entries(store: ProfileStore) -> list[StoredProfile]:
    try:
        return store.entries()
    except OSError as error:
        raise CommandError(
            f"{error.filename} is the folder of the profiles: allowed is one that can be read "
            f"({error.strerror})."
        ) from None


def _chosen(entries: list[StoredProfile], digest: str) -> StoredProfile:
    # A whole digest stands for itself, whatever else begins with it.
    found = [one for one in entries if one.digest == digest] or [
        one for one in entries if digest and one.digest.startswith(digest)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(one.digest for one in found)
        raise wrong_value("DIGEST", digest, f"more of its digits, since it stands for {names}")
    if not entries:
        raise wrong_value("DIGEST", digest, "that of a remembered profile, and there are none")
    raise wrong_value("DIGEST", digest, f"one of {', '.join(one.digest for one in entries)}")
