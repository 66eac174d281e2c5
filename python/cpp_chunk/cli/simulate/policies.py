"""The policies that a simulation compares, by the names that users give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cpp_chunk._core import (
    AtomPolicy,
    ChunkPlanner,
    ChunkPolicy,
    FixedPolicy,
    SglangPolicy,
    TerapipePolicy,
    VllmAscendPolicy,
)
from cpp_chunk.cli.shared.fixed_sizes import fixed_sizes_tokens
from cpp_chunk.cli.shared.values import Kind, WrongPartError, read_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cpp_chunk.cli.shared.latency_source import Pipeline
    from cpp_chunk.cli.shared.limits import PlanLimits

# Base chunks that a published rule is tried at: the largest that makes sense, and halves of it.
_NUM_BASES = 5
# The programme's time grows with the square of a prompt's granules.
_MAX_GRANULES = 2048


@dataclass(frozen=True)
class PolicySetting:
    """A policy as the user names it: with a base, at its best base, or one that has none."""

    name: str
    base_tokens: int | None = None

    @property
    def label(self) -> str:
        """As it is written on the command line."""
        return self.name if self.base_tokens is None else f"{self.name}={self.base_tokens}"


@dataclass(frozen=True)
class PolicyMaker:
    """Makes policies for one pipeline, a fresh one for every run: some learn as they go."""

    pipeline: Pipeline
    limits: PlanLimits
    longest_prompt_tokens: int
    # Steps scheduled that have not left the last stage; None for as many as stages.
    max_in_flight: int | None = None

    def make(self, setting: PolicySetting) -> ChunkPolicy:
        """The policy of a setting whose base is known, if its kind has one."""
        return _POLICIES[setting.name].make(self, setting.base_tokens or 0)

    def settings(self, setting: PolicySetting) -> list[PolicySetting]:
        """Itself, or one for each base to try where the user named none."""
        if setting.base_tokens is not None or not _POLICIES[setting.name].has_base:
            return [setting]
        cap = self.limits.max_chunk_tokens
        bases: Sequence[int] = fixed_sizes_tokens(cap)
        if setting.name != "fixed":
            # A base above the prompt does not pipeline it at all.
            largest = min(cap, 1 << (self.longest_prompt_tokens.bit_length() - 1))
            bases = sorted({max(1, largest >> halved) for halved in range(_NUM_BASES)})
        return [PolicySetting(setting.name, base) for base in bases]

    @property
    def granule_tokens(self) -> int:
        """Whole blocks, as many as keep the exact programme's tables small."""
        block = self.limits.alignment
        granules = max(1, -(-self.longest_prompt_tokens // (_MAX_GRANULES * block)))
        return block * granules


@dataclass(frozen=True)
class _Policy:
    make: Callable[[PolicyMaker, int], ChunkPolicy]
    has_base: bool


def _dynamic(maker: PolicyMaker, _base_tokens: int) -> ChunkPolicy:
    return ChunkPlanner(
        maker.pipeline.stages_with_gap,
        max_in_flight=maker.max_in_flight,
        **maker.limits.arguments,
    )


# The published rules see what a forward pass takes on the slowest stage; the gap is not in it.
def _sglang(maker: PolicyMaker, base_tokens: int) -> ChunkPolicy:
    return SglangPolicy(maker.pipeline.slowest_stage(base_tokens), base_tokens)


def _vllm_ascend(maker: PolicyMaker, base_tokens: int) -> ChunkPolicy:
    return VllmAscendPolicy(maker.pipeline.slowest_stage(base_tokens), base_tokens)


def _atom(maker: PolicyMaker, base_tokens: int) -> ChunkPolicy:
    return AtomPolicy(maker.pipeline.slowest_stage(base_tokens), base_tokens)


def _terapipe(maker: PolicyMaker, _base_tokens: int) -> ChunkPolicy:
    return TerapipePolicy(
        maker.pipeline.stages_with_gap,
        max_chunk_tokens=maker.limits.max_chunk_tokens,
        granule_tokens=min(maker.granule_tokens, maker.limits.max_chunk_tokens),
    )


_POLICIES: dict[str, _Policy] = {
    "dynamic": _Policy(_dynamic, has_base=False),
    "fixed": _Policy(lambda _maker, base_tokens: FixedPolicy(base_tokens), has_base=True),
    "sglang": _Policy(_sglang, has_base=True),
    "vllm-ascend": _Policy(_vllm_ascend, has_base=True),
    "atom": _Policy(_atom, has_base=True),
    "terapipe": _Policy(_terapipe, has_base=False),
}

# What is compared where the user names nothing. The exact programme is for a lone prompt.
DEFAULT_POLICIES = tuple(
    PolicySetting(name) for name in ("dynamic", "fixed", "sglang", "vllm-ascend", "atom")
)


def _read_setting(text: str) -> PolicySetting:
    name, separator, base = text.partition("=")
    if name not in _POLICIES or (separator and not _POLICIES[name].has_base):
        raise ValueError(text)
    if not separator:
        return PolicySetting(name)
    try:
        base_tokens = read_tokens(base)
    except ValueError:
        base_tokens = 0
    if base_tokens < 1:
        message = f"TOKENS is {base!r}, allowed is a whole number from 1, such as 8192 or 8k"
        raise WrongPartError(message)
    return PolicySetting(name, base_tokens)


POLICIES = Kind(
    _read_setting,
    ", ".join(
        f"{name}[=TOKENS]" if policy.has_base else name for name, policy in _POLICIES.items()
    ),
)
