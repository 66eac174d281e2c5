"""Passes of the start-up profile in vLLM's real scheduler, before workers that are made up here.

Real: configuration, scheduler, KV cache manager, mixin and profiler. Made up: the workers, which
keep requests as the V2 runner does, and the answers.
"""

# ruff: noqa: E402 - vLLM is imported once it is known to be there
from __future__ import annotations

import contextlib
import dataclasses
import importlib
import logging
import random
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest
from cpp_chunk.engine.profile.found_profile import find_profile
from cpp_chunk.engine.profile.passes import MAX_PASSES, profile_space, take_profile
from cpp_chunk.engine.profile.profiler import Profiler, ProfilingError
from cpp_chunk.engine.scheduler import derive
from cpp_chunk.records.cache_dir import CACHE_DIR_VARIABLE
from cpp_chunk.settings.config import parse_config
from cpp_chunk.worker.timer import STEP_ID

from benchmarks.engine.tiny_model import TinyModelShape, write_tiny_model
from tests.python.remembered import deployment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cpp_chunk.engine.profile.profiler import ProfilePass

# Their imports warn of others' deprecations, which importorskip is deaf to.
for name in ("v1.engine.core", "engine.arg_utils"):
    pytest.importorskip(f"vllm.{name}")
import torch
from vllm.engine.arg_utils import EngineArgs
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.structured_output import StructuredOutputManager

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]

STAGES = 2
BUDGET = 4096
MAX_MODEL_LEN = 32768
BLOCK = 16
MANY_BLOCKS = 8192


class Workers:
    """The executor and its workers: as the V2 runner has it, a request has a slot in them from the
    step that brings it until the step that says that it has finished."""

    def __init__(self, num_slots: int, *, pools: bool) -> None:
        self.held: dict[str, int] = {}
        self.executed: list[Any] = []
        self.chunks: dict[int, tuple[int, int]] = {}
        self.supported_tasks: tuple[str, ...] = ("embed", "token_embed") if pools else ("generate",)
        self.without_answer: int | None = None
        self._num_slots = num_slots
        self._pools = pools
        self._sampling: Future[Any] | None = None

    def execute_model(self, output: Any, *, non_block: bool) -> Future[Any]:
        assert non_block
        self.executed.append(output)
        for request_id in output.finished_req_ids:
            # One that found no room is let go before workers have heard of it.
            self.held.pop(request_id, None)
        for one in output.scheduled_new_reqs:
            assert (one.pooling_params is not None) == self._pools
            assert (one.sampling_params is None) == self._pools
            self.held[one.req_id] = one.num_computed_tokens
        assert len(self.held) <= self._num_slots, "no free indices"
        ids = list(output.num_scheduled_tokens)
        answer = ModelRunnerOutput(
            req_ids=ids,
            req_id_to_index={key: index for index, key in enumerate(ids)},
            pooler_output=[None] * len(ids),
        )
        if ids:
            [(request_id, num_tokens)] = output.num_scheduled_tokens.items()
            step_id = getattr(output, STEP_ID)
            self.chunks[step_id] = (num_tokens, self.held[request_id])
            if len(self.chunks) == self.without_answer:
                answer = None
        samples = bool(ids) and not self._pools
        self._sampling = done(answer) if samples else None
        return done(None if samples else answer)

    def sample_tokens(self, grammar_output: Any, *, non_block: bool) -> Future[Any]:
        assert non_block
        assert self._sampling is not None, "nothing to sample"
        return self._sampling


def done(result: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(result)
    return future


class Timers:
    """Stands for the stages' timers.

    Args:
        disturbance: by how much of its length a pass is made longer by something else, on average.
    """

    def __init__(self, workers: Workers, disturbance: float = 0.0) -> None:
        self._workers = workers
        self._disturbance = disturbance
        self._random = random.Random(0)

    def guard_passes(self) -> None: ...

    def end_pass_guard(self) -> list[str]:
        return []

    def read_now(self, after_step_id: int) -> dict[int, dict[int, tuple[float, float]]]:
        return {
            step_id: {
                stage: (float(step_id), step_ms(*chunk) * self._disturbed_by())
                for stage in range(STAGES)
            }
            for step_id, chunk in self._workers.chunks.items()
            if step_id > after_step_id
        }

    def _disturbed_by(self) -> float:
        return 1 + self._disturbance * self._random.expovariate(1.0)


def step_ms(num_tokens: int, history: int) -> float:
    return 4.0 + 0.02 * num_tokens + 5e-5 * num_tokens * (history + num_tokens / 2)


class Bench:
    """A scheduler with the mixin, its workers, and every step that it gave and was told of."""

    def __init__(self, model: Path, base: type[Any], num_blocks: int, **settings: Any) -> None:
        known = {field.name for field in dataclasses.fields(EngineArgs)}
        if not settings.keys() <= known:
            pytest.skip(f"this release has no {settings.keys() - known}")
        arguments: dict[str, Any] = {
            "model": str(model),
            "load_format": "dummy",
            "dtype": "float32",
            "enforce_eager": True,
            "block_size": BLOCK,
            "pipeline_parallel_size": STAGES,
            "max_num_batched_tokens": BUDGET,
            "max_model_len": MAX_MODEL_LEN,
            "max_num_seqs": 16,
            "async_scheduling": False,
        } | settings
        config = EngineArgs(**arguments).create_engine_config()
        config.cache_config.num_gpu_blocks = num_blocks
        spec = FullAttentionSpec(
            block_size=BLOCK, num_kv_heads=4, head_size=64, dtype=torch.float16
        )
        # Profiles are taken by the test.
        self.scheduler = derive(base, parse_config({"enabled": True}), lambda _: None)(
            vllm_config=config,
            kv_cache_config=KVCacheConfig(
                num_blocks=num_blocks,
                kv_cache_tensors=[],
                kv_cache_groups=[KVCacheGroupSpec(["layer.0", "layer.1"], spec)],
            ),
            structured_output_manager=StructuredOutputManager(config),
            block_size=BLOCK,
            hash_block_size=BLOCK,
        )
        self.workers = Workers(arguments["max_num_seqs"], pools="runner" in settings)
        self.profiler = Profiler(self.scheduler, self.workers, Timers(self.workers))  # type: ignore[arg-type]
        self.scheduled: list[Any] = []
        self.processed: list[Any] = []
        schedule, update = self.scheduler.schedule, self.scheduler.update_from_output

        def watched_schedule() -> Any:
            self.scheduled.append(schedule())
            return self.scheduled[-1]

        def watched_update(output: Any, answer: Any) -> Any:
            self.processed.append(output)
            return update(output, answer)

        self.scheduler.schedule = watched_schedule
        self.scheduler.update_from_output = watched_update

    def take_profile(self) -> tuple[ProfilePass, ...]:
        space, _ = profile_space(BUDGET, self.profiler.max_context_tokens, BLOCK)
        with self.profiler:
            return take_profile(self.profiler, space)

    def assert_nothing_is_left(self) -> None:
        assert self.workers.held == {}
        # By identity: outputs that look the same are not the same step.
        for heard in (self.workers.executed, self.processed):
            assert [id(one) for one in heard] == [id(one) for one in self.scheduled]
        scheduler = self.scheduler
        assert not scheduler.requests and not scheduler.running and not scheduler.waiting
        assert scheduler.finished_req_ids == set()
        manager = scheduler.kv_cache_manager
        # One is vLLM's own placeholder.
        assert manager.block_pool.get_num_free_blocks() == manager.block_pool.num_gpu_blocks - 1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"), TinyModelShape(num_layers=STAGES))


@pytest.fixture
def bench(model: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("VLLM_PLUGINS", "")
    # The platform would otherwise take half of the machine's memory for a KV cache.
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    importlib.import_module("vllm.v1.engine.core")

    def made(base: type[Any] = Scheduler, num_blocks: int = MANY_BLOCKS, **settings: Any) -> Bench:
        return Bench(model, base, num_blocks, **settings)

    return made


CASES: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "async scheduling": {"base": AsyncScheduler},
    "a threshold for long prefills": {"long_prefill_token_threshold": 512},
    "one sequence at a time": {"max_num_seqs": 1},
    "few KV blocks": {"num_blocks": 600},
    "few KV blocks, most kept free": {"num_blocks": 600, "watermark": 0.6},
    "pooling": {"runner": "pooling", "convert": "embed"},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_step_of_a_profile_is_run_and_nothing_is_left(
    case: dict[str, Any], bench: Callable[..., Bench]
) -> None:
    it = bench(**case)
    passes = it.take_profile()
    it.assert_nothing_is_left()
    assert len(passes) == MAX_PASSES - 1
    # No pass is cut: what was chosen is the scheduler's whole budget too.
    assert max(one.num_tokens for one in passes) == BUDGET
    if "num_blocks" in case:
        # Nor is a history halved: passes fill the cache to its last block.
        longest = max(one.num_tokens + one.num_computed_tokens for one in passes)
        assert longest > it.profiler.max_context_tokens - BLOCK
        assert it.profiler.max_context_tokens > (case["num_blocks"] - 4) * BLOCK
    threshold = it.scheduler.scheduler_config.long_prefill_token_threshold
    assert threshold == case.get("long_prefill_token_threshold", 0)


def test_passes_leave_room_for_drafters_that_look_ahead(bench: Callable[..., Bench]) -> None:
    it = bench()
    if not hasattr(it.scheduler, "num_prefill_lookahead"):
        pytest.skip("this release has no such drafters")
    # As a drafter of three modules sets them; its weights take no part in scheduling.
    it.scheduler.num_prefill_lookahead = it.scheduler.num_lookahead_tokens = 3
    it.profiler = Profiler(it.scheduler, it.workers, Timers(it.workers))  # type: ignore[arg-type]
    passes = it.take_profile()
    it.assert_nothing_is_left()
    assert len(passes) == MAX_PASSES - 1
    assert max(one.num_tokens for one in passes) == BUDGET


def test_a_pass_is_what_vllm_makes_of_it(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    it = bench()
    split = type(it.scheduler)._mamba_block_aligned_split
    # Whatever the reason may be: a cache that has no room for more of an image, say.
    monkeypatch.setattr(
        it.scheduler,
        "_mamba_block_aligned_split",
        lambda *args: min(256, split(it.scheduler, *args)),
    )
    with it.profiler:
        passes = it.profiler.run([(512, 0), (128, 64), (1024, 2048)])
    it.assert_nothing_is_left()
    assert [(one.num_tokens, one.num_computed_tokens) for one in passes] == [
        (256, 0),
        (128, 64),
        (256, 2048),
    ]


def test_a_busy_machine_is_said_and_gets_a_profile(
    bench: Callable[..., Bench],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(CACHE_DIR_VARIABLE, str(tmp_path))
    for disturbance in (0.0, 2.0):
        it = bench()
        timers = Timers(it.workers, disturbance)
        caplog.clear()
        # vLLM's logger keeps its lines to itself.
        with caplog.at_level(logging.INFO, logger="vllm"), mirrored("vllm", caplog.handler):
            found = find_profile(it.scheduler, it.workers, timers, deployment())  # type: ignore[arg-type]
        it.assert_nothing_is_left()
        assert found.fits is not None
        assert ("the machine is busy" in caplog.text) == (disturbance > 0)
        # The second one trusts the first one's profile no more than its probes allow.
        assert found.source == "measured"
        assert (found.num_passes > MAX_PASSES) == (disturbance > 0)


@contextlib.contextmanager
def mirrored(name: str, handler: logging.Handler) -> Iterator[None]:
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_pass_without_an_answer_ends_the_profile_and_leaves_nothing(
    number: int, bench: Callable[..., Bench]
) -> None:
    it = bench()
    it.workers.without_answer = number
    with pytest.raises(ProfilingError, match="has no output"):
        it.take_profile()
    it.assert_nothing_is_left()


def test_a_pooling_model_without_a_task_is_not_profiled(bench: Callable[..., Bench]) -> None:
    it = bench(runner="pooling", convert="embed")
    it.workers.supported_tasks = ()
    with pytest.raises(ProfilingError, match="names no task"):
        it.take_profile()
    assert it.workers.executed == []
