"""What becomes of a configuration that vLLM checks again, copies, or forks with."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
from typing import TYPE_CHECKING, Any

from tests.ascend.facts import Lines, config_facts, derived_facts

if TYPE_CHECKING:
    from collections.abc import Callable


def _checked_again(vllm_config: Any) -> Any:
    """As the engine core does to what it has been handed."""
    vllm_config.__post_init__()
    return vllm_config


def _with_hf_config(vllm_config: Any) -> Any:
    return vllm_config.with_hf_config(vllm_config.model_config.hf_config)


def _copied_and_checked(vllm_config: Any) -> Any:
    return _checked_again(copy.deepcopy(vllm_config))


WAYS: dict[str, Callable[[Any], Any]] = {
    "checked again": _checked_again,
    "replaced": dataclasses.replace,
    "with_hf_config": _with_hf_config,
    "copied": _copied_and_checked,
}


def _facts(way: Callable[[Any], Any], vllm_config: Any) -> dict[str, Any]:
    with Lines() as log:
        try:
            repeated = way(vllm_config)
        except Exception as error:  # noqa: BLE001 (a way that is closed is a fact)
            return {"error": repr(error), "log": log.lines}
        facts = {**config_facts(repeated), "derived": derived_facts(repeated)}
        original = derived_facts(vllm_config)
    return {**facts, "derived_from_original": original, "log": log.lines}


def _in_fork(vllm_config: Any) -> dict[str, Any]:
    """As vLLM starts an engine core with the method "fork": no plugin is loaded there."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with os.fdopen(writing, "w", encoding="utf-8") as pipe:
                json.dump(_facts(_checked_again, vllm_config), pipe)
            os._exit(0)
        finally:
            # Reached with an exception alone: the parent's work must not be done twice.
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"the forked process ended with status {status}")
    facts: dict[str, Any] = json.loads(text)
    return facts


def repeat_facts(vllm_config: Any) -> dict[str, Any]:
    """By way; the process that forks has done nothing to the configuration before."""
    return {
        "forked": _in_fork(vllm_config),
        **{name: _facts(way, vllm_config) for name, way in WAYS.items()},
    }
