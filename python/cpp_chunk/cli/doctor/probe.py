"""What vLLM says when it is asked in a process of its own, so that this one never imports it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from cpp_chunk.settings.deployment import Deployment  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Sequence

# Importing vLLM takes seconds, a model's configuration may have to be downloaded.
TIMEOUT_S = 300


class SettingsAnswer(BaseModel):
    """What vLLM makes of the arguments of `vllm serve`.

    Attributes:
        problem: why there is no engine configuration: the parser's words, vLLM's, or our front
            end's refusal.
        not_looked_at: arguments that are not the engine's.
        enabled: whether dynamic chunks are switched on.
        implementation: whose they would be.
        allow_untested: whether a release that is not known is no reason to refuse.
        smooth_factor: as configured.
        no_profile: what keeps a start from taking a profile.
        deployment: what a profile would be remembered for.
        max_passes: of a start-up profile, warm-up included.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    problem: str | None = None
    not_looked_at: list[str] = []
    enabled: bool = False
    implementation: str = "cpp-chunk"
    allow_untested: bool = False
    smooth_factor: float = 1.0
    no_profile: str | None = None
    deployment: Deployment | None = None
    max_passes: int | None = None


class EngineAnswer(BaseModel):
    """What a process found out in which vLLM was imported.

    Attributes:
        problem: why vLLM could not be asked at all.
        vllm_version: of the package that was imported.
        release_problem: why it is not a release that we know.
        device_name: of this machine; None where vLLM finds none.
        plugin_problem: what registering raised.
        seams: each place of the ledger that a front end and an engine core need, and whether our
            function is there.
        shapes: each scheduler class, and what is wrong with its shape.
        settings: where arguments were given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    problem: str | None = None
    vllm_version: str | None = None
    release_problem: str | None = None
    device_name: str | None = None
    plugin_problem: str | None = None
    seams: dict[str, bool] = {}
    shapes: dict[str, str | None] = {}
    settings: SettingsAnswer | None = None


def ask_engine(vllm_arguments: Sequence[str], *, verbose: bool) -> EngineAnswer:
    """Starts a process that loads vLLM's plugins as an engine's front end does.

    Args:
        vllm_arguments: of `vllm serve`; none: only what needs no model is asked.
        verbose: whether vLLM's log goes to this process's standard error.
    """
    try:
        done = subprocess.run(  # noqa: S603
            # Without -P, modules of the working directory would hide the installed ones.
            [
                sys.executable,
                "-P",
                "-m",
                "cpp_chunk.cli.doctor.probe_child",
                *vllm_arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if verbose else subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return EngineAnswer(problem=f"vLLM has not answered within {TIMEOUT_S} s")
    try:
        return EngineAnswer.model_validate_json(done.stdout)
    except ValidationError:
        last = ((done.stderr or "").strip().splitlines() or ["no word on standard error"])[-1]
        return EngineAnswer(
            problem=f"the process that asks vLLM ended with exit code {done.returncode}: {last}"
        )
