"""vLLM's real scheduler, with our mixin or as it is, in an engine of stages that are made up.

Real: the configuration, the scheduler with its KV and encoder cache managers, the mixin and the
native planner. Made up: the answers, and a clock that a step moves by what the stages' models say.
"""

# ruff: noqa: E402 - vLLM is imported once it is known to be there
from __future__ import annotations

import functools
import importlib
import itertools
import os
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest import mock

import cpp_chunk
import pytest
from cpp_chunk.engine.planner import ServingPlanner
from cpp_chunk.engine.scheduler import derive
from cpp_chunk.settings.config import ProfilingChunkConfig, parse_config
from cpp_chunk.settings.model_shape import alignment_tokens
from cpp_chunk.worker.timer import STEP_ID

# Their imports warn of others' deprecations, which importorskip is deaf to.
for name in ("v1.engine.core", "engine.arg_utils"):
    pytest.importorskip(f"vllm.{name}")
import torch
from vllm.engine.arg_utils import EngineArgs
from vllm.multimodal.inputs import MultiModalFeatureSpec, PlaceholderRange
from vllm.sampling_params import SamplingParams, StructuredOutputsParams
from vllm.utils.hashing import get_hash_fn_by_name
from vllm.v1.core.encoder_cache_manager import EncoderCacheManager
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import DraftTokenIds, KVConnectorOutput, ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus
from vllm.v1.structured_output import StructuredOutputManager

from tests.scheduler.stage_times import WatchedFeedback

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

# A step of 8192 tokens takes 2.9 s without history: attention is most of a long prompt's work.
TRUTH = cpp_chunk.LatencyModel(quadratic=8e-5, cross=5e-5, linear=0.02, context=0.0, constant=4.0)
MAX_MODEL_LEN = 65536
# vLLM counts on an empty step being followed by another one; after so many it waits for nothing.
STUCK_STEPS = 50


@dataclass(frozen=True)
class Shape:
    """One deployment. Counts are tokens unless they say otherwise.

    Attributes:
        steps_in_flight: the engine core's queue, in steps; by default as many as stages.
        num_accepted: drafts of a decode that prove right in each step.
        settings: ours, as (key, value) pairs.
    """

    max_num_batched_tokens: int = 8192
    block_tokens: int = 16
    num_blocks: int = 8192
    max_num_seqs: int = 256
    policy: str = "fcfs"
    long_prefill_token_threshold: int = 0
    num_drafts: int = 0
    num_accepted: int = 0
    encoder_cache_tokens: int = 0
    reserves_full_prompt: bool = True
    is_async: bool = False
    connector: str | None = None
    stages: tuple[cpp_chunk.LatencyModel, ...] = (TRUTH, TRUTH)
    steps_in_flight: int | None = None
    settings: tuple[tuple[str, Any], ...] = ()


class StuckError(AssertionError):
    """Requests are there, nothing is in flight, and vLLM schedules nothing."""


@dataclass
class Step:
    """What `schedule()` gave, what the last stage will answer, and whether any of it is prefill."""

    output: Any
    answer: Any
    finished_ms: float
    has_prefill: bool


@dataclass(frozen=True)
class Ask:
    """One question of vLLM's: it would schedule `offered` tokens, and was told `answered`."""

    request: Any
    is_prefill: bool
    offered: int
    answered: int


class WatchedNative:
    """Stands around the native planner: which steps with prefill it must take to be in flight."""

    def __init__(self, native: Any) -> None:
        self._native = native
        self.in_flight: list[int] = []
        self._last_left = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)

    def step_scheduled(self, step_id: int, prefills: Any) -> None:
        assert step_id > max([self._last_left, *self.in_flight])
        self.in_flight.append(step_id)
        self._native.step_scheduled(step_id, prefills)

    def step_left(self, step_id: int) -> None:
        # It takes all before it to have left as well: each is to be told of by itself.
        assert step_id > self._last_left
        self._last_left = step_id
        if step_id in self.in_flight:
            assert self.in_flight.pop(0) == step_id
        self._native.step_left(step_id)


class Watched:
    """Goes before the class with the mixin: hears what vLLM asks, and lets no failure pass."""

    asks: list[Ask]

    def _mamba_block_aligned_split(self, request: Any, num_new_tokens: int, *hits: Any) -> int:
        answered: int = super()._mamba_block_aligned_split(  # type: ignore[misc]
            request, num_new_tokens, *hits
        )
        start = request.num_computed_tokens + sum(hits[:2])
        # What has at most one token left is a decode, with however many drafts behind it.
        is_prefill = request.num_tokens - start > 1
        self.asks.append(Ask(request, is_prefill, num_new_tokens, answered))
        return answered

    def cpp_chunk_fall_back(self, doing: str, error: BaseException) -> None:
        raise AssertionError(f"the mixin fell back: {doing}") from error


@functools.lru_cache(maxsize=512)
def vllm_config(model: Path, shape: Shape) -> Any:
    importlib.import_module("vllm.v1.engine.core")
    drafts = (
        {"speculative_config": {"method": "ngram", "num_speculative_tokens": shape.num_drafts}}
        if shape.num_drafts
        else {}
    )
    connector = (
        {
            "kv_transfer_config": {
                "kv_connector": shape.connector.rpartition(".")[2],
                "kv_connector_module_path": shape.connector.rpartition(".")[0],
                "kv_role": "kv_both",
            }
        }
        if shape.connector
        else {}
    )
    arguments: dict[str, Any] = {
        "model": str(model),
        "load_format": "dummy",
        "dtype": "float32",
        "enforce_eager": True,
        "block_size": shape.block_tokens,
        "pipeline_parallel_size": len(shape.stages),
        "max_num_batched_tokens": shape.max_num_batched_tokens,
        "max_model_len": MAX_MODEL_LEN,
        "max_num_seqs": shape.max_num_seqs,
        "scheduling_policy": shape.policy,
        "long_prefill_token_threshold": shape.long_prefill_token_threshold,
        "scheduler_reserve_full_isl": shape.reserves_full_prompt,
        "async_scheduling": False,
        **drafts,
        **connector,
    }
    # The platform would otherwise take half of the machine's memory for a KV cache.
    with mock.patch.dict(os.environ, {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}):
        config = EngineArgs(**arguments).create_engine_config()
    config.cache_config.num_gpu_blocks = shape.num_blocks
    return config


def kv_cache_config(shape: Shape) -> Any:
    spec = FullAttentionSpec(
        block_size=shape.block_tokens, num_kv_heads=4, head_size=64, dtype=torch.float16
    )
    return KVCacheConfig(
        num_blocks=shape.num_blocks,
        kv_cache_tensors=[],
        kv_cache_groups=[KVCacheGroupSpec(["layer.0", "layer.1"], spec)],
    )


@dataclass
class Engine:
    """One engine core, its stages and its clock.

    Args:
        model: the folder of a small model's configuration.
        has_plugin: whether our mixin is in the scheduler; else it is vLLM's alone.
    """

    model: Path
    shape: Shape = field(default_factory=Shape)
    has_plugin: bool = True
    now_ms: float = 0.0
    planner: ServingPlanner | None = None
    native: WatchedNative | None = None
    feedback: WatchedFeedback | None = None
    in_flight: deque[Step] = field(default_factory=deque)
    # Tokens of each step that was not empty, by request.
    steps: list[dict[str, int]] = field(default_factory=list)
    arrived_ms: dict[str, float] = field(default_factory=dict)
    first_token_ms: dict[str, float] = field(default_factory=dict)
    # Of the latest step, empty or not.
    tokens: dict[str, int] = field(default_factory=dict)
    num_scheduled: int = 0
    num_preemptions: int = 0
    # Chunks that a step had given and took back, for one of a higher priority.
    num_taken_back: int = 0

    def __post_init__(self) -> None:
        self._free_ms = [0.0] * len(self.shape.stages)
        self._num_empty_in_a_row = 0
        self._names = itertools.count()
        init_none_hash(get_hash_fn_by_name("sha256"))
        self._hasher = get_request_block_hasher(
            self.shape.block_tokens, get_hash_fn_by_name("sha256")
        )
        self.depth = self.shape.steps_in_flight or len(self.shape.stages)
        config = vllm_config(self.model, self.shape)
        # Chosen here: vLLM would have no asynchronous one beside its V1 runner on a CPU.
        base: Any = AsyncScheduler if self.shape.is_async else Scheduler
        if self.has_plugin:
            settings = parse_config({"enabled": True, **dict(self.shape.settings)})
            derived = derive(base, settings, functools.partial(self._start, settings))
            base = type("Watched" + derived.__name__, (Watched, derived), {"asks": []})
        self.scheduler = base(
            vllm_config=config,
            kv_cache_config=kv_cache_config(self.shape),
            structured_output_manager=StructuredOutputManager(config),
            block_size=self.shape.block_tokens,
            hash_block_size=self.shape.block_tokens,
        )
        # Pipelines are asynchronous with the V2 runner alone, for which it paces decodes.
        self.scheduler.use_v2_model_runner = self.shape.is_async
        if self.shape.encoder_cache_tokens:
            # The small model reads text alone: what a model with images would have made.
            self.scheduler.max_num_encoder_input_tokens = self.shape.encoder_cache_tokens
            self.scheduler.encoder_cache_manager = EncoderCacheManager(
                self.shape.encoder_cache_tokens
            )

    def _start(self, settings: ProfilingChunkConfig, scheduler: Any) -> None:
        """In the place of our start-up, which would profile workers that are not there."""
        self.planner = ServingPlanner(
            settings,
            max_chunk_tokens=scheduler.max_num_scheduled_tokens,
            alignment_tokens=alignment_tokens(scheduler),
            max_in_flight=self.depth,
        )
        self.planner.set_models(self.shape.stages, 0.0)
        self.native = WatchedNative(self.planner._native)
        self.planner._native = self.native  # type: ignore[assignment]
        self.feedback = WatchedFeedback(
            self.planner, self.shape.stages, scheduler.max_num_scheduled_tokens
        )
        scheduler.cpp_chunk_use(self.planner, self.feedback.feedback)

    # ------------------------------------------------------------ requests

    def add(
        self,
        num_tokens: int,
        name: str | None = None,
        *,
        max_tokens: int = 1,
        images: Iterable[tuple[int, int]] = (),
        prefix: tuple[int, int] = (0, 0),
        priority: int = 0,
        waits_for_grammar: bool = False,
    ) -> Any:
        """A prompt joins.

        Args:
            images: (offset, tokens) of each.
            prefix: (number, tokens): prompts with the same number begin with the same tokens.
        """
        number = next(self._names)
        name = name or f"r{number}"
        shared = [-1 - prefix[0]] * min(prefix[1], num_tokens)
        # Blocks are hashed with all that is before them, so one token makes a prompt its own.
        own = [number + 1] * min(1, num_tokens - len(shared))
        request = Request(
            request_id=name,
            prompt_token_ids=[*shared, *own, *[0] * (num_tokens - len(shared) - len(own))],
            sampling_params=SamplingParams(
                max_tokens=max_tokens,
                temperature=0.0,
                ignore_eos=True,
                structured_outputs=StructuredOutputsParams(json="{}")
                if waits_for_grammar
                else None,
            ),
            pooling_params=None,
            block_hasher=self._hasher,
            priority=priority,
            # Orders requests of one priority; vLLM's default is the time of day.
            arrival_time=float(number),
            mm_features=[
                MultiModalFeatureSpec(
                    data=None,
                    modality="image",
                    identifier=f"{name}.{offset}",
                    mm_position=PlaceholderRange(offset=offset, length=length),
                )
                for offset, length in images
            ],
        )
        self.arrived_ms[name] = self.now_ms
        self.scheduler.add_request(request)
        return request

    def abort(self, names: Iterable[str]) -> None:
        self.scheduler.finish_requests(list(names), RequestStatus.FINISHED_ABORTED)

    # ------------------------------------------------------------ steps

    def schedule(self) -> dict[str, int]:
        """One `schedule()`; its step is in flight from here on. The tokens of each request."""
        scheduler = self.scheduler
        if self.has_plugin:
            scheduler.asks.clear()
        output = scheduler.schedule()
        self._check_chooser()
        tokens = self.tokens = output.num_scheduled_tokens
        requests = [scheduler.requests[one] for one in tokens]
        self.num_scheduled += 1
        self.num_preemptions += len(output.preempted_req_ids or ())
        if self.has_plugin:
            self.num_taken_back += sum(
                ask.answered > 0
                and ask.request.request_id in (output.preempted_req_ids or ())
                and ask.request.request_id not in tokens
                for ask in scheduler.asks
            )
        finished_ms = self.now_ms
        has_prefill = False
        if tokens:
            self.steps.append(dict(tokens))
            has_prefill = any(
                tokens[one.request_id] > 1
                and one.num_tokens - one.num_computed_tokens + tokens[one.request_id] > 1
                for one in requests
            )
            spans_ms = []
            chunks = [
                (tokens[one.request_id], one.num_computed_tokens - tokens[one.request_id])
                for one in requests
            ]
            for stage, model in enumerate(self.shape.stages):
                start_ms, stage_ms = max(finished_ms, self._free_ms[stage]), model.step_ms(chunks)
                finished_ms = self._free_ms[stage] = start_ms + stage_ms
                spans_ms.append((start_ms, stage_ms))
            step_id = getattr(output, STEP_ID, None)
            if self.feedback is not None and step_id is not None:
                self.feedback.stages.took(step_id, spans_ms)
        answer = self._answer_to(output, requests)
        self.in_flight.append(Step(output, answer, finished_ms, has_prefill))
        # Who waits for a grammar waits for somebody else.
        can_go_on = any(not one.use_structured_output for one in scheduler.requests.values())
        self._num_empty_in_a_row = self._num_empty_in_a_row + 1 if can_go_on and not tokens else 0
        if self._num_empty_in_a_row > STUCK_STEPS and not any(
            step.output.total_num_scheduled_tokens for step in self.in_flight
        ):
            raise StuckError(f"{len(scheduler.running)} running, {len(scheduler.waiting)} waiting")
        return tokens

    def _answer_to(self, output: Any, requests: Sequence[Any]) -> Any:
        # Made now, as a device makes it from what it was sent: later steps change the requests.
        drafts = output.scheduled_spec_decode_tokens
        return ModelRunnerOutput(
            req_ids=[one.request_id for one in requests],
            req_id_to_index={one.request_id: index for index, one in enumerate(requests)},
            sampled_token_ids=[
                [7] * (1 + min(self.shape.num_accepted, len(drafts.get(one.request_id, ()))))
                if one.num_computed_tokens >= one.num_tokens
                else []
                for one in requests
            ],
        )

    def process(self, loaded: Iterable[str] = ()) -> None:
        """The oldest step in flight has left the last stage.

        Args:
            loaded: requests whose KV has come from elsewhere meanwhile.
        """
        step = self.in_flight.popleft()
        self.now_ms = max(self.now_ms, step.finished_ms)
        if self.feedback is not None:
            self.feedback.stages.now_ms = self.now_ms
        answers = dict(zip(step.answer.req_ids, step.answer.sampled_token_ids, strict=True))
        for name, sampled in answers.items():
            if sampled and name in self.scheduler.requests:
                self.first_token_ms.setdefault(name, self.now_ms)
        if loaded := set(loaded):
            step.answer.kv_connector_output = KVConnectorOutput(finished_recving=loaded)
        self.scheduler.update_from_output(step.output, step.answer)
        self._check_chooser()
        if self.shape.num_drafts and not self.shape.is_async:
            # Asynchronous ones are placeholders of the scheduler's own.
            drafted = [name for name, sampled in answers.items() if sampled]
            drafts = [[5] * self.shape.num_drafts for _ in drafted]
            self.scheduler.update_draft_token_ids(DraftTokenIds(drafted, drafts))

    def _check_chooser(self) -> None:
        if self.has_plugin:
            assert self.scheduler._cpp_chunk_chooser is self.planner, "the mixin gave up"

    @property
    def has_work(self) -> bool:
        return bool(self.scheduler.has_requests() or self.in_flight)

    def turn(self) -> None:
        """One turn of the engine core: fill the queue first, then wait for the oldest step."""
        if self.scheduler.has_requests() and len(self.in_flight) < self.depth:
            is_executed = bool(self.schedule())
            if len(self.in_flight) < self.depth and (is_executed or self.scheduler.has_requests()):
                return
        if self.in_flight:
            self.process()

    def run(self) -> None:
        """Until nothing is left to do."""
        while self.has_work:
            self.turn()

    def serve(self, arrivals: Sequence[tuple[float, Mapping[str, Any]]]) -> None:
        """Requests that come at their times, in ms and in order; until all are done."""
        coming = deque(arrivals)
        while coming or self.has_work:
            if not self.has_work:
                self.now_ms = max(self.now_ms, coming[0][0])
            while coming and coming[0][0] <= self.now_ms:
                arrival_ms, request = coming.popleft()
                self.arrived_ms[self.add(**request).request_id] = arrival_ms
            self.turn()

    # ------------------------------------------------------------ what tests ask

    @property
    def num_empty(self) -> int:
        """Steps in which nothing was scheduled."""
        return self.num_scheduled - len(self.steps)

    @property
    def target_ms(self) -> float:
        assert self.planner is not None
        target_ms = self.planner.target_ms
        assert target_ms is not None
        return target_ms

    @property
    def book_is_empty(self) -> bool:
        """No step is in flight by the mixin's book, nor by what the native planner was told."""
        assert self.native is not None
        return self.scheduler.cpp_chunk_book.is_empty and not self.native.in_flight

    @property
    def steps_with_prefill(self) -> list[int]:
        """The numbers of those in flight: what the native planner is to know of."""
        return [getattr(one.output, STEP_ID) for one in self.in_flight if one.has_prefill]

    def ttft_ms(self, name: str) -> float:
        return self.first_token_ms[name] - self.arrived_ms[name]

    def lone(self, num_tokens: int) -> tuple[float, float]:
        """A prompt alone in the idle engine: its first step's target and its TTFT, in ms."""
        assert not self.has_work
        name = self.add(num_tokens).request_id
        self.schedule()
        target_ms = self.target_ms
        self.run()
        return target_ms, self.ttft_ms(name)

    def lone_target_ms(self, num_tokens: int) -> float:
        return self.lone(num_tokens)[0]


@functools.lru_cache(maxsize=4096)
def fresh_lone(model: Path, shape: Shape, num_tokens: int) -> tuple[float, float]:
    """`Engine.lone` of an engine that has served nothing."""
    return Engine(model, shape).lone(num_tokens)


def assert_as_fresh(engine: Engine, num_tokens: int = 3000) -> None:
    """An engine with nothing left to do plans a lone prompt as if it had never served."""
    engine.run()
    if engine.feedback is not None and engine.scheduler._cpp_chunk_feedback is not None:
        engine.feedback.check_when_idle()
    target_ms, ttft_ms = engine.lone(num_tokens)
    fresh_target_ms, fresh_ttft_ms = fresh_lone(engine.model, engine.shape, num_tokens)
    assert target_ms == pytest.approx(fresh_target_ms, rel=1e-6)
    assert ttft_ms == pytest.approx(fresh_ttft_ms, rel=1e-6)
