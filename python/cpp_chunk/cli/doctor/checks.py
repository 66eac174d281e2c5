"""The checks of `cpp-chunk doctor`: a section for each thing that dynamic chunks depend on."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from typing import TYPE_CHECKING, Final

from cpp_chunk import __version__
from cpp_chunk.cli.doctor.findings import Section
from cpp_chunk.cli.shared.deployment_view import layout_text
from cpp_chunk.report.words import duration, percent
from cpp_chunk.settings.config import KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpp_chunk.cli.doctor.probe import EngineAnswer, SettingsAnswer
    from cpp_chunk.records.last_run import LastRun
    from cpp_chunk.records.profile_store import StoredProfile

_GROUP: Final = "vllm.general_plugins"
_PLUGIN: Final = "cpp_chunk"
_SWITCH: Final = f"""--additional-config '{{"{KEY}": {{"enabled": true}}}}'"""
_REPORT: Final = "report it, with the vLLM version"


def vllm_distributions() -> dict[str, str]:
    """What is installed that brings vLLM or a device for it, with versions."""
    owners = importlib.metadata.packages_distributions()
    names = {*owners.get("vllm", ()), *owners.get("vllm_ascend", ())}
    return {name: importlib.metadata.version(name) for name in sorted(names)}


def installed(distributions: dict[str, str], engine: EngineAnswer | None) -> Section:
    """Packages and device.

    Args:
        distributions: what `vllm_distributions` says.
        engine: vLLM's answer; None where it is not installed.
    """
    section = Section("installed")
    section.ok(f"cpp-chunk {__version__}, Python {sys.version.split()[0]}")
    if engine is None:
        section.problem(
            f"vLLM is not installed in {sys.prefix}",
            "install cpp-chunk in the environment that vLLM runs in",
        )
        return section
    # One that runs from its sources belongs to no distribution.
    for name, version in (distributions or {"vllm": str(engine.vllm_version)}).items():
        section.ok(f"{name} {version}")
    try:
        section.ok(f"torch {importlib.metadata.version('torch')}")
    except importlib.metadata.PackageNotFoundError:
        section.problem("torch is not installed", "install what vLLM needs")
    if engine.problem is not None:
        section.problem(
            f"vLLM cannot be asked: {engine.problem}",
            "see whether `python -c 'import vllm.engine.arg_utils'` works; "
            "cpp-chunk doctor --verbose shows vLLM's log",
        )
    elif engine.device_name is None:
        section.problem(
            "vLLM finds no device on this machine",
            "run this where the engine runs, with the vLLM of its device",
        )
    else:
        section.ok(f"device {engine.device_name}")
    return section


def plugin(engine: EngineAnswer | None) -> Section:
    """Whether vLLM loads the plugin, and our functions are then in their places."""
    section = Section("plugin")
    if importlib.metadata.entry_points(group=_GROUP, name=_PLUGIN):
        section.ok(f"registered as {_PLUGIN} in {_GROUP}")
    else:
        section.problem(
            f"no entry point {_PLUGIN} in {_GROUP}: vLLM cannot find the plugin",
            "install cpp-chunk with pip, not by a path alone",
        )
    allowed = os.environ.get("VLLM_PLUGINS")
    if allowed is not None and _PLUGIN not in allowed.split(","):
        section.problem(
            f"VLLM_PLUGINS is {allowed!r}: vLLM loads no others",
            f"add {_PLUGIN} to it, or unset it",
        )
    if engine is None or engine.problem is not None:
        return section
    if engine.plugin_problem is not None:
        section.problem(f"loading vLLM's plugins failed: {engine.plugin_problem}", _REPORT)
    missing = [place for place, is_applied in engine.seams.items() if not is_applied]
    if missing:
        section.problem(
            f"vLLM has loaded its plugins, and ours is not in {', '.join(missing)}",
            "cpp-chunk doctor --verbose shows what vLLM says about plugins",
        )
    else:
        section.ok(f"vLLM loads it: {len(engine.seams)} of {len(engine.seams)} seams are in place")
    return section


def shape(engine: EngineAnswer | None) -> Section:
    """Whether vLLM, and above all its scheduler, has a shape that we know."""
    section = Section("shape")
    if engine is None or engine.problem is not None:
        section.note("not looked at, without vLLM")
        return section
    if engine.release_problem is None:
        section.ok(f"vLLM {engine.vllm_version} has what we rely on")
    elif engine.settings is not None and engine.settings.allow_untested:
        section.note(f"{engine.release_problem} That is set.")
    else:
        section.problem(engine.release_problem, "use a release of docs/compatibility.md")
    for name, problem in engine.shapes.items():
        if problem is None:
            section.ok(f"{name} has the shape that dynamic chunks need")
        else:
            section.problem(problem, f"choose vLLM's own scheduler, or {_REPORT}")
    return section


def settings(engine: EngineAnswer | None) -> Section:
    """Whether the arguments of `vllm serve` switch dynamic chunks on."""
    section = Section("settings")
    if engine is None or engine.problem is not None:
        section.note("not looked at, without vLLM")
        return section
    answer = engine.settings
    if answer is None:
        section.note(
            "not looked at: no arguments of vLLM are given",
            "cpp-chunk doctor -- MODEL and all else that follows `vllm serve`",
        )
        return section
    if answer.not_looked_at:
        section.note(f"not of the engine, so not looked at: {' '.join(answer.not_looked_at)}")
    if answer.problem is not None:
        section.problem(answer.problem, "change the arguments")
    elif answer.implementation != "cpp-chunk":
        section.problem(
            f"{KEY}.implementation is {answer.implementation!r}: vllm-ascend's own version runs",
            "leave implementation out",
        )
    elif not answer.enabled:
        section.problem(f"{KEY}.enabled is false: chunks are fixed", f"add {_SWITCH}")
    elif answer.smooth_factor == 0:
        section.problem(
            f"{KEY}.smooth_factor is 0: chunks are fixed", "set it above 0, or leave it out"
        )
    else:
        section.ok(f"dynamic chunks are switched on{_layout(answer)}")
    return section


def _layout(answer: SettingsAnswer) -> str:
    return f"; {layout_text(answer.deployment)}" if answer.deployment is not None else ""


def profile(engine: EngineAnswer | None, entries: Sequence[StoredProfile]) -> Section:
    """Which remembered profile a start would use."""
    section = Section("profile")
    answer = engine.settings if engine is not None else None
    if answer is None or answer.deployment is None:
        _count_profiles(section, engine, entries)
        return section
    if answer.no_profile is not None:
        section.note(
            f"no start-up profile {answer.no_profile}: fixed chunks until served steps carry a fit"
        )
        return section
    digest = answer.deployment.digest
    start = f"at most {answer.max_passes} passes at the start, more on a busy machine"
    entry = next((one for one in entries if one.digest == digest), None)
    if entry is None:
        section.ok(f"none is remembered for {digest}: {start}")
    elif entry.profile is None:
        section.note(f"not used: {entry.problem}; {start}", f"cpp-chunk profile rm {digest}")
    else:
        section.ok(
            f"{digest}, measured at {entry.profile.measured_at or 'an unknown time'}, "
            f"{len(entry.profile.passes)} passes; checked at the start"
        )
    return section


def _count_profiles(
    section: Section, engine: EngineAnswer | None, entries: Sequence[StoredProfile]
) -> None:
    here = [
        one
        for one in entries
        if engine is not None
        and one.profile is not None
        and one.profile.deployment is not None
        and one.profile.deployment.vllm_version == engine.vllm_version
        and one.profile.deployment.device_name == engine.device_name
    ]
    section.note(f"{len(entries)} remembered, {len(here)} of them of this vLLM and this device")
    for entry in entries:
        if entry.problem is not None:
            section.note(f"not used: {entry.problem}", f"cpp-chunk profile rm {entry.digest}")


def last_run(run: LastRun | None, engine: EngineAnswer | None) -> Section:
    """What the last engine reported."""
    section = Section("last run")
    if run is None:
        section.note("no engine has reported yet")
        return section
    who = f"{run.at}, {run.model}, vLLM {run.vllm_version}, cpp-chunk {run.cpp_chunk_version}"
    if run.chunks == "dynamic":
        section.ok(f"dynamic chunks: {who}")
    elif not run.fallbacks:
        section.note(f"fixed chunks ({run.reason or 'no reason given'}): {who}")
    else:
        failed = ", ".join(f"{what} ({count})" for what, count in run.fallbacks.items())
        text = f"fixed chunks, since something failed: {run.reason or failed}: {who}"
        vllm_version = engine.vllm_version if engine is not None else None
        if (run.vllm_version, run.cpp_chunk_version) == (vllm_version, __version__):
            section.problem(text, f"start it again; if it fails again, {_REPORT}")
        else:
            section.note(f"{text}; other versions are installed now")
    section.note(_figures(run))
    return section


def _figures(run: LastRun) -> str:
    words = []
    if run.profile is not None:
        words.append(f"profile {run.profile}, {run.profile_passes} passes, {run.profile_s:.1f} s")
    if run.target_ms is not None:
        words.append(f"target {duration(run.target_ms)}")
    if run.median_error is not None:
        words.append(f"median error of predicted steps {percent(run.median_error, 1)}")
    words.append(f"{run.measured_steps} steps measured, {run.refits} refits")
    return "; ".join(words)
