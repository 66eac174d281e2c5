"""Whatever a sequence is made of, the core reads it as if it were a list.

`make test-bindings` runs this under AddressSanitizer, which sees what is read after it is freed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cpp_chunk
import numpy as np
import pytest

MODEL = cpp_chunk.LatencyModel(
    quadratic=6.5e-7, cross=6.5e-7, linear=6.03e-3, context=5.39e-4, constant=43.6
)
STAGES = [MODEL] * 4
PROMPTS = [[100_000 + i, 50_000 + i] for i in range(5)]
SAMPLES = [
    [[[size, done], [1, 7]], MODEL.step_ms([(size, done), (1, 7)])]
    for size in (8192, 4096, 1024, 256)
    for done in (0, 4096, 16384, 65536)
]


class Lazy(Sequence[Any]):
    """Makes each item when it is asked for, lists as what it is itself, and keeps none."""

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        item = self._items[index]
        return self.made(item) if isinstance(item, list) else item

    def made(self, item: list[Any]) -> Any:
        return Lazy(item)


class LazyLists(Lazy):
    """The same, of lists."""

    def made(self, item: list[Any]) -> Any:
        return [*LazyLists(item)]


def tuples(items: list[Any]) -> Any:
    return tuple(tuples(item) if isinstance(item, list) else item for item in items)


def arrays(items: list[Any]) -> Any:
    """Rows of numbers are an array; what is not as regular is one of objects."""
    try:
        return np.array(items)
    except ValueError:
        made = np.empty(len(items), dtype=object)
        made[:] = [arrays(item) if isinstance(item, list) else item for item in items]
        return made


KINDS = [tuples, Lazy, LazyLists, arrays]


def policies() -> list[cpp_chunk.ChunkPolicy]:
    return [
        cpp_chunk.FixedPolicy(4096),
        cpp_chunk.SglangPolicy(MODEL, 4096),
        cpp_chunk.VllmAscendPolicy(MODEL, 4096),
        cpp_chunk.AtomPolicy(MODEL, 4096),
        cpp_chunk.TerapipePolicy(STAGES, max_chunk_tokens=32768, granule_tokens=4096),
        cpp_chunk.ChunkPlanner(STAGES, max_chunk_tokens=32768, alignment=16),
    ]


def first_chunk(policy: cpp_chunk.ChunkPolicy, prompts: Any) -> int:
    policy.set_backlog(prompts, 0)
    policy.begin_step()
    return policy.chunk_tokens(*PROMPTS[0], 32768)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", range(len(policies())))
def test_backlogs(place: int, kind: Callable[[list[Any]], Any]) -> None:
    expected, got = policies()[place], policies()[place]
    assert first_chunk(got, kind(PROMPTS)) == first_chunk(expected, PROMPTS)
    if isinstance(got, cpp_chunk.ChunkPlanner) and isinstance(expected, cpp_chunk.ChunkPlanner):
        assert got.target_ms == expected.target_ms


def target_beside(prefills: Any) -> float:
    """Of a prompt that comes while a step of these chunks is in flight: each of them moves it."""
    planner = cpp_chunk.ChunkPlanner(STAGES, max_chunk_tokens=32768)
    planner.set_backlog([(200_000, 0)], 0)
    planner.step_scheduled(1, prefills)
    planner.set_backlog([(3000, 0)], 0)
    return planner.target_ms


# What takes a sequence, but for set_backlog; each answers with what shows that it was read.
TAKERS: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
    "step_ms": (MODEL.step_ms, PROMPTS),
    "fit_latency_model": (lambda given: cpp_chunk.fit_latency_model(given).model, SAMPLES),
    "Calibrator": (
        lambda given: cpp_chunk.Calibrator(given, capacity=4).refit().model,
        SAMPLES,
    ),
    "Calibrator.add": (
        lambda given: cpp_chunk.Calibrator(SAMPLES, capacity=4).add(given, 1e5),
        PROMPTS,
    ),
    "best_target_ms": (
        lambda given: cpp_chunk.best_target_ms(STAGES, given, max_chunk_tokens=32768),
        PROMPTS,
    ),
    "makespan_bound_ms": (lambda given: cpp_chunk.makespan_bound_ms(STAGES, given), PROMPTS),
    "stages": (lambda given: cpp_chunk.plan_fixed_chunks(given, 9999, 1024).makespan_ms, STAGES),
    "preferred_multiples": (
        lambda given: (
            cpp_chunk.plan_chunks(
                STAGES, 131072, max_chunk_tokens=32768, preferred_multiples=given
            ).chunks
        ),
        [64, 256],
    ),
    "next_passes": (
        lambda given: cpp_chunk.next_passes(
            cpp_chunk.ProfileSpace(
                smallest_chunk_tokens=256, max_chunk_tokens=8192, max_context_tokens=100_000
            ),
            given,
            num_new=3,
        ),
        [[[size, 0], 1.0 + size] for size in (8192, 4096, 1024, 256)],
    ),
    "best_layer_split": (
        lambda given: (
            cpp_chunk.best_layer_split(
                [MODEL, MODEL.scaled(3.0)], 65536, given, max_chunk_tokens=32768
            ).layers
        ),
        [4, 4],
    ),
    "set_stages": (
        lambda given: cpp_chunk.ChunkPlanner(STAGES, max_chunk_tokens=32768).set_stages(given),
        STAGES,
    ),
    "step_scheduled": (target_beside, [[16_000, 0], [4096, 100_000], [1, 1]]),
    "SimulatedPipeline": (
        lambda given: cpp_chunk.SimulatedPipeline(given, max_num_batched_tokens=100).stages,
        STAGES,
    ),
    "simulate": (
        lambda given: (
            cpp_chunk.simulate(
                cpp_chunk.SimulatedPipeline(STAGES, max_num_batched_tokens=4096),
                given,
                cpp_chunk.FixedPolicy(4096),
            ).makespan_ms
        ),
        [cpp_chunk.SimulatedRequest(10_000 * i) for i in range(1, 5)],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("taker", TAKERS)
def test_other_sequences(taker: str, kind: Callable[[list[Any]], Any]) -> None:
    take, items = TAKERS[taker]
    assert take(kind(items)) == take(items)


class Misleading(Sequence[Any]):
    """Says that it is longer than it is."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: Any) -> Any:
        return PROMPTS[:2][index]


def test_no_more_prompts_are_under_way_than_there_are() -> None:
    for policy in policies():
        with pytest.raises(cpp_chunk.InvalidArgument, match=r"num_under_way must be in \[0, 2\]"):
            policy.set_backlog(Misleading(), 4)


class Failing(Lazy):
    def __getitem__(self, index: Any) -> Any:
        raise KeyError("not there")


def test_errors_of_a_sequence_come_through() -> None:
    planner = cpp_chunk.ChunkPlanner(STAGES, max_chunk_tokens=32768)
    for take in (lambda given: planner.set_backlog(given, 0), MODEL.step_ms):
        with pytest.raises(KeyError, match="not there"):
            take(Failing(PROMPTS))


class Clearing:
    """A count whose reading empties the list that it came from."""

    def __init__(self, owner: list[Any]) -> None:
        self._owner = owner

    def __index__(self) -> int:
        self._owner.clear()
        return 5


def test_a_list_that_is_emptied_while_it_is_read() -> None:
    def emptied(prompts: list[Any]) -> list[Any]:
        pair: list[Any] = []
        pair += [Clearing(prompts), 0]
        prompts += [pair, *PROMPTS]
        return prompts

    planner = cpp_chunk.ChunkPlanner(STAGES, max_chunk_tokens=32768)
    planner.set_backlog(emptied([]), 0)
    assert MODEL.step_ms(emptied([])) == MODEL.step_ms([(5, 0)])


@pytest.mark.parametrize("wrong", ["ab", [1], [(1, 2, 3)], [(1.5, 0)], [("1", "2")], [None]])
def test_what_is_no_backlog_is_a_type_error(wrong: Any) -> None:
    for policy in policies():
        with pytest.raises(TypeError):
            policy.set_backlog(wrong, 0)


def test_generators_are_read_where_lists_are() -> None:
    def prompts() -> Iterator[list[int]]:
        yield from PROMPTS

    assert MODEL.step_ms(prompts()) == MODEL.step_ms(PROMPTS)  # type: ignore[arg-type]
