"""The process that imports vLLM for `cpp-chunk doctor`: one JSON object on standard output."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from cpp_chunk.cli.doctor.probe import EngineAnswer, SettingsAnswer
from cpp_chunk.compat.installed import UnknownShapeError, check_installed
from cpp_chunk.compat.release import UntestedReleaseError
from cpp_chunk.compat.relied_on import SCHEDULERS
from cpp_chunk.compat.scheduler_shape import UnknownSchedulerError, check_scheduler_shape
from cpp_chunk.engine.profile.found_profile import why_no_profile
from cpp_chunk.engine.profile.passes import MAX_PASSES
from cpp_chunk.patching import places
from cpp_chunk.settings.ascend import settings_of
from cpp_chunk.settings.config import read_config
from cpp_chunk.settings.deployment import Deployment, device_name

if TYPE_CHECKING:
    from collections.abc import Sequence

# Those of the front end and of the engine core; workers are not started here.
_SEAMS = (places.FRONT_END, places.EXECUTOR, places.SCHEDULER)
_MAX_WORDS_LENGTH = 600


def main(vllm_arguments: Sequence[str]) -> None:
    """Asks, and writes the answer to what was standard output: vLLM's log must not get into it."""
    answers = os.dup(1)
    os.dup2(2, 1)
    try:
        answer = _ask(vllm_arguments)
    except Exception as error:  # noqa: BLE001 - what vLLM raises is the answer
        answer = EngineAnswer(problem=_words(error))
    with os.fdopen(answers, "w", encoding="utf-8") as file:
        file.write(answer.model_dump_json())


def _ask(vllm_arguments: Sequence[str]) -> EngineAnswer:
    from vllm.platforms import current_platform
    from vllm.plugins import load_general_plugins
    from vllm.version import __version__ as vllm_version

    for seam in _SEAMS:
        importlib.import_module(seam.module)
    plugin_problem = None
    try:
        load_general_plugins()
    except Exception as error:  # noqa: BLE001 - any plugin's may come through
        plugin_problem = _words(error)
    settings, shapes = _ask_of_arguments(vllm_arguments) if vllm_arguments else (None, {})
    return EngineAnswer(
        vllm_version=vllm_version,
        release_problem=_release_problem(),
        device_name=device_name() if current_platform.device_type else None,
        plugin_problem=plugin_problem,
        seams={
            seam.place: seam.is_applied()
            for seam in (*_SEAMS, places.ASCEND_PLATFORM)
            if seam.is_loaded()
        },
        shapes=shapes or _shapes_of_vllm(),
        settings=settings,
    )


def _release_problem() -> str | None:
    try:
        check_installed()
    except (UntestedReleaseError, UnknownShapeError) as error:
        return str(error)
    return None


def _shapes_of_vllm() -> dict[str, str | None]:
    return dict(
        _shape(getattr(importlib.import_module(module), name)) for module, name in SCHEDULERS
    )


def _shape(scheduler_cls: type[Any]) -> tuple[str, str | None]:
    name = f"{scheduler_cls.__module__}.{scheduler_cls.__qualname__}"
    try:
        check_scheduler_shape(scheduler_cls)
    except UnknownSchedulerError as error:
        return name, str(error)
    return name, None


def _ask_of_arguments(
    vllm_arguments: Sequence[str],
) -> tuple[SettingsAnswer, dict[str, str | None]]:
    """What the arguments lead to, and the shape of the scheduler that they choose."""
    from vllm.engine import arg_utils
    from vllm.usage.usage_lib import UsageContext

    # The parser that arg_utils itself names has moved between releases.
    parser = arg_utils.AsyncEngineArgs.add_cli_args(arg_utils.FlexibleArgumentParser())
    # As `vllm serve` takes the model.
    parser.add_argument("model_tag", nargs="?")
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            given, others = parser.parse_known_args(list(vllm_arguments))
    except SystemExit:
        last = (complaint.getvalue().strip().splitlines() or ["the arguments cannot be read"])[-1]
        return SettingsAnswer(problem=last.rpartition("error: ")[2]), {}
    if given.model_tag is not None:
        given.model = given.model_tag
    try:
        # The defaults of some limits are the server's own.
        vllm_config = arg_utils.AsyncEngineArgs.from_cli_args(given).create_engine_config(
            UsageContext.OPENAI_API_SERVER
        )
        config = read_config(settings_of(vllm_config))
        shape = dict([_shape(vllm_config.scheduler_config.get_scheduler_cls())])
    except UnknownSchedulerError as error:
        return SettingsAnswer(enabled=True, not_looked_at=others), {"scheduler_cls": str(error)}
    except Exception as error:  # noqa: BLE001 - refusals are ours, the rest is vLLM's
        return SettingsAnswer(problem=_words(error), not_looked_at=others), {}
    deployment = Deployment.of(vllm_config, device_name())
    return SettingsAnswer(
        not_looked_at=others,
        enabled=config.enabled,
        implementation=config.implementation,
        allow_untested=config.allow_untested,
        smooth_factor=config.smooth_factor,
        no_profile=why_no_profile(vllm_config.parallel_config),
        deployment=deployment,
        max_passes=MAX_PASSES,
    ), shape


def _words(error: Exception) -> str:
    """What an exception says, on one line."""
    if isinstance(error, ValidationError):
        text = "; ".join(one["msg"] for one in error.errors())
    else:
        text = str(error)
    words = " ".join(text.split()) or type(error).__name__
    return words if len(words) <= _MAX_WORDS_LENGTH else f"{words[:_MAX_WORDS_LENGTH]} ..."


if __name__ == "__main__":
    main(sys.argv[1:])
