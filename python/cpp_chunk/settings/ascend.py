"""What we must know of vllm-ascend, whose in-tree version of this feature reads the same key.

In its releases that carry it, `NPUPlatform.check_and_update_config` installs a scheduler, a wrapper
of EngineCore and two device synchronisations a step as soon as it finds the key switched on. So
the key is taken out of what it sees, wherever vLLM calls it: the settings go on with vLLM's
configuration, which vLLM sends to the engine core and the workers.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from cpp_chunk.log import init_logger
from cpp_chunk.settings.config import (
    IN_TREE,
    KEY,
    NOT_IN_TREE,
    PARENT_KEY,
    LeftInTree,
    edited,
    is_in_tree,
    without_key,
)

logger = init_logger(__name__)

# On a SchedulerConfig: the two places of the key, as the user wrote them. Not on the VllmConfig,
# since vLLM refuses to copy one that has attributes of others.
_TAKEN = "_cpp_chunk_taken_settings"
_PLATFORM_PACKAGE = "vllm_ascend"
IN_TREE_SCHEDULER = "ProfilingChunkScheduler"
_BALANCE = "enable_balance_scheduling"
_BALANCE_VARIABLE = "VLLM_ASCEND_BALANCE_SCHEDULING"
# What vllm-ascend takes for "no dynamic batch".
_NO_LIMITS = -1
_FALSE = ("", "0", "false")


def is_active() -> bool:
    """Whether vLLM runs on vllm-ascend's platform."""
    from vllm.platforms import current_platform

    return type(current_platform).__module__.split(".")[0] == _PLATFORM_PACKAGE


def take_over(vllm_config: Any) -> None:
    """Takes the key out of a VllmConfig that vllm-ascend is about to read, or hands it back.

    The user's own dictionary stays as it is. vLLM has its platform check a configuration again in
    the engine core, and copies of it wherever one is made: where the key has been taken or handed
    back nothing is done.
    """
    additional = vllm_config.additional_config
    if not isinstance(additional, Mapping):
        return
    taken = edited(additional, _key_alone)
    settings = [place[KEY] for place in _holders(taken) if KEY in place]
    if not settings or any(isinstance(one, LeftInTree) for one in settings):
        return
    if any(is_in_tree(one) for one in settings):
        vllm_config.additional_config = edited(additional, _handed_back)
        _say_handed_back(is_outer=KEY in additional)
        return
    vllm_config.scheduler_config.__dict__[_TAKEN] = taken
    vllm_config.additional_config = edited(additional, without_key)
    if any(isinstance(one, Mapping) and one.get("enabled") for one in settings):
        logger.info(
            "taking %s over from vllm-ascend: its own scheduler, engine wrapper and step timing "
            'stay off; "implementation": "%s" hands it back',
            KEY,
            IN_TREE,
        )


def _say_handed_back(*, is_outer: bool) -> None:
    logger.info("%s is left to vllm-ascend: implementation is %r", KEY, IN_TREE)
    if not is_outer and not _reads_inner_place():
        logger.warning(
            "this vllm-ascend reads %s at the top level of additional_config alone, and not in "
            "%s: its own version stays off",
            KEY,
            PARENT_KEY,
        )


def settings_of(vllm_config: Any) -> Any:
    """The additional configuration in which our settings stand: as taken over, or vLLM's."""
    return vllm_config.scheduler_config.__dict__.get(_TAKEN, vllm_config.additional_config)


def other_scheduling(additional_config: object) -> str | None:
    """Which setting of vllm-ascend that replaces the scheduler's own choices is on, if any is."""
    # Where both places have a setting, vllm-ascend takes that of the inner one.
    settings = {
        name: value for place in _holders(additional_config) for name, value in place.items()
    }
    # As with its other variables, this one counts where the setting is left out.
    if _BALANCE not in settings and _is_set(_BALANCE_VARIABLE):
        return f"{_BALANCE_VARIABLE} is {os.environ[_BALANCE_VARIABLE]!r}"
    for name in (_BALANCE, "recompute_scheduler_enable"):
        if settings.get(name):
            return f"additional_config {name} is {settings[name]!r}"
    for name in ("short_request_first_config", "batch_job_sched_config", "dyntra_lb_config"):
        nested = settings.get(name)
        if isinstance(nested, Mapping) and nested.get("enabled"):
            return f"additional_config {name}.enabled is {nested['enabled']!r}"
    limits = settings.get("SLO_limits_for_dynamic_batch", _NO_LIMITS)
    if limits != _NO_LIMITS:
        return f"additional_config SLO_limits_for_dynamic_batch is {limits!r}"
    return None


def has_in_tree_scheduler(scheduler_cls: type[Any]) -> bool:
    """Whether vllm-ascend's own version was installed all the same, before us."""
    return any(
        base.__module__.startswith(_PLATFORM_PACKAGE) and base.__name__ == IN_TREE_SCHEDULER
        for base in scheduler_cls.__mro__
    )


def uses_flashcomm(vllm_config: Any) -> bool:
    """Whether tensor parallel ranks share a step's tokens out among them (FlashComm)."""
    additional = vllm_config.additional_config
    settings = additional if isinstance(additional, Mapping) else {}
    # Either switches it on, and the second wants it.
    if settings.get("enable_flashcomm1") or settings.get("enable_shared_expert_dp"):
        return True
    return "enable_flashcomm1" not in settings and _is_set("VLLM_ASCEND_ENABLE_FLASHCOMM1")


def is_asynchronous_on_v1(vllm_config: Any) -> bool:
    """Whether steps are scheduled asynchronously on vllm-ascend with the V1 model runner."""
    return (
        is_active()
        and bool(vllm_config.scheduler_config.async_scheduling)
        and not vllm_config.use_v2_model_runner
    )


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() not in _FALSE


def _reads_inner_place() -> bool:
    """Whether this release has a configuration of its own for schedulers, as newer ones do."""
    return hasattr(sys.modules.get(f"{_PLATFORM_PACKAGE}.ascend_config"), "SchedulerConfig")


def _holders(additional: object) -> Iterator[Mapping[str, Any]]:
    """The mappings in which vllm-ascend looks for settings of schedulers."""
    if isinstance(additional, Mapping):
        yield additional
        if isinstance(nested := additional.get(PARENT_KEY), Mapping):
            yield nested


def _key_alone(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: settings[key] for key in (KEY, PARENT_KEY) if key in settings}


def _handed_back(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Without keys of ours: newer releases refuse what they do not know."""
    left = dict(settings)
    if isinstance(given := settings.get(KEY), Mapping):
        left[KEY] = LeftInTree((k, v) for k, v in given.items() if k not in NOT_IN_TREE)
    return left
