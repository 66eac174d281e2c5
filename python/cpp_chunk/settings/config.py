"""The user's settings, validated: one class, and the sentence that each wrong value gets."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cpp_chunk.log import init_logger

logger = init_logger(__name__)

KEY = "profiling_chunk_config"
# Newer vllm-ascend releases have the key in here.
PARENT_KEY = "scheduler_config"
_NESTED_KEY = f"{PARENT_KEY}.{KEY}"
IN_TREE: Final = "in-tree"

Edit = Callable[[Mapping[str, Any]], dict[str, Any]]
StepMs = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ConfigError(ValueError):
    """A setting that stops the start. The message names the key, the value and what is allowed."""


class LeftInTree(dict[str, Any]):
    """Settings that have been handed back to vllm-ascend: a mark that copies and processes keep."""


def is_in_tree(settings: object) -> bool:
    """Whether settings ask for vllm-ascend's own version, or have been handed back to it."""
    return isinstance(settings, LeftInTree) or (
        isinstance(settings, Mapping) and settings.get("implementation") == IN_TREE
    )


class ProfilingChunkConfig(BaseModel):
    """`additional_config["profiling_chunk_config"]`. Descriptions say what is allowed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    enabled: bool = Field(default=False, description="true or false")
    smooth_factor: float = Field(
        default=1.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="a number from 0 (fixed chunks) to 1 (fully dynamic)",
    )
    min_chunk: int = Field(default=4096, gt=0, description="a whole number of tokens above 0")
    need_timing: bool = Field(default=True, description="true or false")
    target: Literal["auto", "base"] | StepMs = Field(
        default="auto", description='"auto", "base", or a step time in milliseconds above 0'
    )
    max_step_ms: StepMs | None = Field(
        default=None, description="a step time in milliseconds above 0, or null for no bound"
    )
    implementation: Literal["cpp-chunk", "in-tree"] = Field(
        default="cpp-chunk", description='"cpp-chunk", or "in-tree" for vllm-ascend\'s own'
    )
    allow_untested: bool = Field(default=False, description="true or false")

    @property
    def min_chunk_is_set(self) -> bool:
        """Whether the user wrote `min_chunk`: then it is a floor, else a ceiling for ours."""
        return "min_chunk" in self.model_fields_set


# Keys that vllm-ascend's own version does not know, and one that only it knows.
NOT_IN_TREE = frozenset({"target", "max_step_ms", "implementation", "allow_untested"})
_IN_TREE_ONLY = "max_fit_chunk"


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0])
    fields = ProfilingChunkConfig.model_fields
    if key == _IN_TREE_ONLY:
        return (
            f"{KEY}.{key} is {first['input']!r}: it is a key of vllm-ascend's own version alone; "
            f'leave it out, or set implementation to "{IN_TREE}" where vLLM runs on vllm-ascend.'
        )
    if first["type"] == "extra_forbidden":
        # Always one: an unlikely guess still shows what keys look like.
        near = difflib.get_close_matches(key, fields, n=1, cutoff=0.0)[0]
        return (
            f"{KEY}.{key} is not a known key (value {first['input']!r}); the nearest is "
            f"{near!r}, allowed are {', '.join(fields)}."
        )
    return f"{KEY}.{key} is {first['input']!r}: allowed is {fields[key].description}."


def parse_config(settings: Mapping[str, Any]) -> ProfilingChunkConfig:
    """Validates the settings as the user wrote them.

    Raises:
        ConfigError: on the first wrong key or value.
    """
    if is_in_tree(settings):
        # All else is vllm-ascend's to read, and nothing of ours is enabled.
        return ProfilingChunkConfig(implementation=IN_TREE)
    try:
        return ProfilingChunkConfig.model_validate(dict(settings))
    except ValidationError as error:
        raise ConfigError(_sentence(error)) from None


def refuse_or_warn(config: ProfilingChunkConfig, error: Exception) -> None:
    """Raises what speaks against this vLLM, or with `allow_untested` only says it."""
    if not config.allow_untested:
        raise error
    logger.warning("%s Going on, since %s.allow_untested is true.", error, KEY)


def warn_of_misspelt_key(additional_config: object) -> None:
    """Says so where there is no key of ours, but one that is nearly the same."""
    if isinstance(additional_config, Mapping) and KEY not in additional_config:
        for similar in difflib.get_close_matches(KEY, map(str, additional_config), cutoff=0.8):
            logger.warning("additional_config has %r: did you mean %r?", similar, KEY)


def edited(additional_config: Mapping[str, Any], edit: Edit) -> dict[str, Any]:
    """A copy of `additional_config` with `edit` applied to both mappings that may hold the key."""
    copy = edit(additional_config)
    if isinstance(nested := copy.get(PARENT_KEY), Mapping):
        copy[PARENT_KEY] = edit(nested)
    return copy


def without_key(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of one mapping, as it is without us."""
    return {key: value for key, value in settings.items() if key != KEY}


def read_config(additional_config: object) -> ProfilingChunkConfig:
    """Finds the settings in vLLM's `additional_config`, in either documented place.

    Args:
        additional_config: what `--additional-config` gave; anything that is not a
            mapping holds no settings of ours.

    Raises:
        ConfigError: a wrong setting, or both places given and different.
    """
    if not isinstance(additional_config, Mapping):
        return ProfilingChunkConfig()
    nested = additional_config.get(PARENT_KEY)
    places = {KEY: additional_config.get(KEY)}
    if isinstance(nested, Mapping):
        places[_NESTED_KEY] = nested.get(KEY)
    given = {place: settings for place, settings in places.items() if settings is not None}
    for place, settings in given.items():
        if not isinstance(settings, Mapping):
            raise ConfigError(
                f"additional_config {place} is {settings!r}: allowed is a JSON object "
                f"with the keys {', '.join(ProfilingChunkConfig.model_fields)}."
            )
    if len(given) == len(places) > 1 and given[KEY] != given[_NESTED_KEY]:
        raise ConfigError(
            f"additional_config {KEY} is {given[KEY]!r} and {_NESTED_KEY} is "
            f"{given[_NESTED_KEY]!r}: give one of them, or both alike."
        )
    for settings in given.values():
        return parse_config(settings)
    return ProfilingChunkConfig()
