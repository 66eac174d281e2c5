"""The ledger of what we call, read or set of vLLM: `relied_on.toml`, and what is patched.

What is only read with a default, such as most of a deployment's settings, is not in here: a
release without it is fine.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from cpp_chunk.patching import places

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cpp_chunk.patching.seam import Seam

SeamName = Literal["front end", "scheduler", "executor", "worker", "platform"]

SCHEDULERS: Final = (
    ("vllm.v1.core.sched.scheduler", "Scheduler"),
    ("vllm.v1.core.sched.async_scheduler", "AsyncScheduler"),
)
_PATCHED: Final[Mapping[str, Mapping[SeamName, tuple[Seam, ...]]]] = {
    "vllm": {
        "front end": (places.FRONT_END,),
        "scheduler": (places.SCHEDULER,),
        "executor": (places.EXECUTOR,),
        "worker": (places.LAZY_RECEIVE, places.TOKENS_V2, places.TOKENS_V1),
    },
    "ascend": {"platform": (places.ASCEND_PLATFORM,)},
}
_PATCHED_WITHOUT: Final = {
    places.LAZY_RECEIVE: "a stage that does not receive lazily has waited before it is timed"
}


@dataclass(frozen=True)
class Reliance:
    """One class or function of vLLM, and what of it we rely on.

    Attributes:
        seam: the part of vLLM that it belongs to.
        module: where we import it from.
        name: there; a method stands behind its class and a dot.
        why: what for.
        positional: what we hand over by position: the names that vLLM has for it. None where we
            do not call it.
        keywords: what we hand over by name.
        attributes: of an instance.
        calls: what it calls, in this order.
        most_arguments: by position, in each of these calls.
        branches: what it looks at in an `if` that has an `else`.
        makes: (function, names): the attributes that it sets to what this function returns are
            among these.
        carries: we set attributes of our own on instances.
        without: why a release that does not have it at all is fine.
    """

    seam: SeamName
    module: str
    name: str
    why: str
    positional: tuple[str, ...] | None = None
    keywords: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    most_arguments: int | None = None
    branches: tuple[str, ...] = ()
    makes: tuple[str, tuple[str, ...]] | None = None
    carries: bool = False
    without: str | None = None

    @property
    def place(self) -> str:
        """Its full name."""
        return f"{self.module}.{self.name}"


@functools.cache
def ledger(distribution: Literal["vllm", "ascend"]) -> tuple[Reliance, ...]:
    """All that we rely on of vLLM, or of vllm-ascend beside it; what is patched comes first."""
    return tuple(_rows(distribution))


def _rows(distribution: str) -> Iterator[Reliance]:
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))[distribution]
    patched = _PATCHED[distribution]
    for seam in (*patched, *(table.keys() - patched.keys())):
        yield from (_patched(seam, place) for place in patched.get(seam, ()))
        for key, values in table.get(seam, {}).items():
            module, _, name = key.partition(":")
            yield Reliance(seam, module, name, **{k: _frozen(v) for k, v in values.items()})


def _patched(seam: SeamName, place: Seam) -> Reliance:
    return Reliance(
        seam,
        place.module,
        place.cls,
        place.why,
        attributes=(place.attribute,),
        without=_PATCHED_WITHOUT.get(place),
    )


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
