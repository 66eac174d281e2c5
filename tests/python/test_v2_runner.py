"""What we touch of vLLM with the V2 model runner: a real engine core over stages made up here.

The V2 runner needs Triton. So the stages are scripted: they have its interface and a device whose
clock the test moves. Engine core, batch queue, AsyncScheduler, the multiprocess executor's futures,
the lazy receive and the wait for sampled tokens are vLLM's own.
"""

# ruff: noqa: E402 - vLLM is imported once it is known to be there
from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import itertools
import json
import logging
import random
from collections import deque
from concurrent.futures import wait
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import cpp_chunk
import numpy as np
import pytest
from cpp_chunk.assembly import startup
from cpp_chunk.assembly.patches import apply_engine
from cpp_chunk.engine.calibration import refits
from cpp_chunk.patching.places import EXECUTOR, LAZY_RECEIVE, SCHEDULER, TOKENS_V2
from cpp_chunk.records import file_thread
from cpp_chunk.records.cache_dir import CACHE_DIR_VARIABLE
from cpp_chunk.report.trace import TRACE_FILE_VARIABLE

from benchmarks.engine.tiny_model import NUM_PLAIN_TOKENS, TinyModelShape, write_tiny_model
from tests.python.fake_device import FakeDevice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Their imports warn of others' deprecations, which importorskip is deaf to.
for name in ("engine.arg_utils", "v1.engine.core", "v1.executor.multiproc_executor"):
    pytest.importorskip(f"vllm.{name}")
import torch
from vllm import SamplingParams
from vllm.distributed import parallel_state
from vllm.engine.arg_utils import EngineArgs
from vllm.sequence import IntermediateTensors
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.engine import EngineCoreRequest
from vllm.v1.engine.core import EngineCore
from vllm.v1.executor.multiproc_executor import FutureWrapper, MultiprocExecutor
from vllm.v1.kv_cache_interface import FullAttentionSpec
from vllm.v1.outputs import AsyncModelRunnerOutput, ModelRunnerOutput
from vllm.v1.worker import gpu_worker
from vllm.v1.worker.gpu.pp_utils import PPHandler
from vllm.v1.worker.worker_base import CompilationTimes

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]

STAGES = 2
BUDGET = 4096
MAX_MODEL_LEN = 32768
# The CPU platform's.
BLOCK = 128
GAP_MS = 1.5
MODELS = [
    cpp_chunk.LatencyModel(quadratic=8e-5, cross=5e-5, linear=0.02, context=1e-5, constant=4.0),
    cpp_chunk.LatencyModel(quadratic=7e-5, cross=6e-5, linear=0.018, context=1e-5, constant=5.0),
]


class Handle:
    """A receive under way: the stream waits for what the stage before has launched."""

    def __init__(self, stage: Stage, until_ms: float) -> None:
        self._stage = stage
        self._until_ms = until_ms

    def wait(self) -> None:
        stream = self._stage.device.streams[0]
        stream.launched_ms = max(stream.launched_ms, self._until_ms)


class SampledTokens(PPHandler):
    """What a stage hears of the tokens that the last one samples.

    The wait for them is vLLM's own: its stream waits at the head of the step that is as many steps
    later as there are stages. There is no broadcast; of a step's tokens it is known here which
    time on the last stage's device they have.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._num_received = 0
        self.main_stream = self
        self.queue = deque() if stage.is_last else deque([None] * STAGES)
        self.req_idx_gen_np = np.zeros(1, dtype=np.int32)

    def wait_event(self, number: int) -> None:
        stream = self._stage.device.streams[0]
        stream.launched_ms = max(stream.launched_ms, self._stage.last.sampled_ms[number])

    def receive(self) -> None:  # type: ignore[override]
        if self._stage.is_last:
            self._stage.sampled_ms.append(self._stage.device.streams[0].launched_ms)
            return
        one = np.zeros(1, dtype=np.int32)
        self.queue[-1] = SimpleNamespace(
            event=self._num_received,
            need_sampled_mask=one == 0,
            idx_mapping_np=one,
            gen_at_receive_np=one,
            **dict.fromkeys(
                ("idx_mapping", "sampled_tokens", "num_sampled", "num_rejected", "draft_tokens")
            ),
        )
        self._num_received += 1


class AsyncAnswer(AsyncModelRunnerOutput):
    """What the V2 runner's `sample_tokens` returns: tokens are known once the copy is done."""

    def __init__(self, sampled: dict[str, list[int]]) -> None:
        self._sampled = sampled

    def get_output(self) -> ModelRunnerOutput:
        ids = list(self._sampled)
        return ModelRunnerOutput(
            req_ids=ids,
            req_id_to_index={key: index for index, key in enumerate(ids)},
            sampled_token_ids=list(self._sampled.values()),
        )


class ScriptedRunner:
    """A stage of the V2 runner: launches what a step takes and returns without waiting."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._prompt_tokens: dict[str, int] = {}
        self._samples: dict[str, list[int]] | None = None
        self._sampled_tokens = SampledTokens(stage)
        self.device = torch.device("cuda")

    def execute_model(
        self,
        scheduler_output: Any,
        intermediate_tensors: Any = None,
        dummy_run: bool = False,  # noqa: FBT001, FBT002 - the V2 runner's own signature
    ) -> Any:
        self._sampled_tokens.get_prev_sampled_outputs()
        for one in scheduler_output.scheduled_new_reqs:
            # A preempted request comes back as a new one, with what it had generated.
            self._prompt_tokens[one.req_id] = len(one.prefill_token_ids or one.prompt_token_ids)
        if scheduler_output.total_num_scheduled_tokens == 0:
            return ModelRunnerOutput(req_ids=[], req_id_to_index={})
        history = {
            one.req_id: one.num_computed_tokens for one in scheduler_output.scheduled_new_reqs
        }
        cached = scheduler_output.scheduled_cached_reqs
        history.update(zip(cached.req_ids, cached.num_computed_tokens, strict=True))
        tokens = scheduler_output.num_scheduled_tokens
        if intermediate_tensors is not None:
            assert intermediate_tensors.tensors  # first use: here it waits
        compute_ms = MODELS[self._stage.rank].step_ms(
            [(n, history[key]) for key, n in tokens.items()]
        )
        self._stage.device.launch(compute_ms)
        self._stage.computed_ms.append(compute_ms)
        self._samples = {
            key: [len(key) % 7] if history[key] + n >= self._prompt_tokens[key] else []
            for key, n in tokens.items()
        }
        return None if self._stage.is_last else IntermediateTensors({"hidden": torch.zeros(1)})

    def sample_tokens(self, grammar_output: Any) -> Any:
        samples, self._samples = self._samples, None
        if samples is not None and any(samples.values()):
            self._sampled_tokens.receive()
        return None if samples is None else AsyncAnswer(samples)


@dataclass
class Stage:
    """One worker, with the methods that the engine core calls."""

    rank: int
    vllm_config: Any
    num_blocks: int
    device: FakeDevice = field(default_factory=FakeDevice)
    computed_ms: list[float] = field(default_factory=list)
    # When each step's output was on its way, for the stage behind.
    sent_ms: deque[float] = field(default_factory=deque)
    # When each step's tokens were sampled, on the last stage.
    sampled_ms: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model_runner = ScriptedRunner(self)
        self.before: Stage | None = None
        self.last = self

    @property
    def is_last(self) -> bool:
        return self.rank == STAGES - 1

    def execute_model(self, scheduler_output: Any) -> Any:
        """As `vllm.v1.worker.gpu_worker.Worker` calls it."""
        received = None
        if scheduler_output.total_num_scheduled_tokens:
            self.device.launch(GAP_MS)
            if self.before is not None:
                handle = Handle(self, self.before.sent_ms.popleft())
                received = gpu_worker.AsyncIntermediateTensors(
                    {"hidden": torch.zeros(1)}, comm_handles=[handle]
                )
        output = self.model_runner.execute_model(scheduler_output, received)
        if isinstance(output, IntermediateTensors):
            self.sent_ms.append(self.device.streams[0].launched_ms)
            return None
        return output

    def sample_tokens(self, grammar_output: Any) -> Any:
        return self.model_runner.sample_tokens(grammar_output)

    def get_kv_cache_spec(self) -> dict[str, Any]:
        return {
            f"layer.{self.rank}": FullAttentionSpec(
                block_size=self.vllm_config.cache_config.block_size,
                num_kv_heads=1,
                head_size=64,
                dtype=torch.float16,
            )
        }

    def determine_available_memory(self) -> int:
        [spec] = self.get_kv_cache_spec().values()
        return self.num_blocks * spec.page_size_bytes

    def get_supported_kv_cache_layouts(self) -> list[str]:
        return ["NHD"]

    def set_kv_cache_layout(self, layout: str) -> None: ...

    def initialize_from_config(self, configs: Any) -> None: ...

    def compile_or_warm_up_model(self) -> CompilationTimes:
        return CompilationTimes(0.0, 0.0)


class ScriptedExecutor(MultiprocExecutor):
    """The multiprocess executor with stages of ours behind its queues instead of processes.

    Stages take messages in order, each at a pace of its own: how far they have come when the
    engine core asks next is drawn at random.
    """

    pace: ClassVar[Callable[[], int]]
    num_blocks: ClassVar[int]

    def _init_executor(self) -> None:
        self.stages = [Stage(rank, self.vllm_config, self.num_blocks) for rank in range(STAGES)]
        for before, after in itertools.pairwise(self.stages):
            after.before = before
        for stage in self.stages:
            stage.last = self.stages[-1]
        self.is_failed = False
        self.output_rank = STAGES - 1
        self.futures_queue: deque[FutureWrapper] = deque()
        self._messages: deque[tuple[int, Any, Any, Any]] = deque()
        self._answers: dict[int, list[Any]] = {}
        self._num_messages = 0

    def shutdown(self) -> None: ...

    def check_health(self) -> None: ...

    def collective_rpc(  # type: ignore[override]  # noqa: PLR0917 - as vLLM has it
        self,
        method: Any,
        timeout: float | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        non_block: bool = False,  # noqa: FBT001, FBT002 - vLLM's own signature
        unique_reply_rank: int | None = None,
        **_: Any,
    ) -> Any:
        self._num_messages += 1
        number = self._num_messages
        self._messages.append((number, method, args, kwargs or {}))
        for _ in range(type(self).pace()):
            self._take_message()

        def response() -> Any:
            while number not in self._answers:
                self._take_message()
            answers = self._answers.pop(number)
            if unique_reply_rank is None:
                return answers
            answer = answers[unique_reply_rank]
            if isinstance(answer, AsyncModelRunnerOutput):
                # The worker's output thread waits for the copy, and with it for the device.
                self._complete_launched()
                return answer.get_output()
            return answer

        future = FutureWrapper(self.futures_queue, get_response=response)
        return future if non_block else future.result()

    def _take_message(self) -> None:
        if self._messages:
            number, method, args, kwargs = self._messages.popleft()
            self._answers[number] = [
                self._call(stage, method, args, kwargs) for stage in self.stages
            ]

    def _call(self, stage: Stage, method: Any, args: Any, kwargs: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            # What a worker process of this rank knows of itself.
            patch.setattr(parallel_state, "_PP", group(stage.rank, STAGES))
            patch.setattr(parallel_state, "_TP", group(0, 1))
            patch.setattr(torch.cuda, "Event", stage.device.make_event)
            if isinstance(method, str):
                return getattr(stage, method)(*args, **kwargs)
            return method(stage, *args, **kwargs)

    def _complete_launched(self) -> None:
        for stage in self.stages:
            stage.device.complete(stage.device.streams[0].launched_ms)


def group(rank: int, size: int) -> Any:
    return SimpleNamespace(
        rank_in_group=rank,
        world_size=size,
        is_first_rank=rank == 0,
        is_last_rank=rank == size - 1,
    )


class CountingChooser:
    """Stands around the real planner: how many steps it must take to be in flight."""

    def __init__(self, planner: Any) -> None:
        self._planner = planner
        self.in_flight = 0
        self.most_in_flight = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._planner, name)

    def scheduled(self, step_id: int, prefills: Any) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self._planner.scheduled(step_id, prefills)

    def left(self, step_id: int) -> None:
        self.in_flight -= 1
        assert self.in_flight >= 0
        self._planner.left(step_id)


@dataclass
class Engine:
    """A real engine core, and what was seen of it."""

    core: EngineCore
    trace_path: Path
    before_profile: dict[str, Any]
    after_profile: dict[str, Any]
    tokens: dict[str, list[int]] = field(default_factory=dict)
    processed: list[tuple[Any, Any]] = field(default_factory=list)
    scheduled: list[Any] = field(default_factory=list)
    most_placeholders: int = 0
    most_preemptions: int = 0

    def __post_init__(self) -> None:
        self.scheduler: Any = self.core.scheduler
        self.planner = self.scheduler._cpp_chunk_chooser
        self.chooser = self.scheduler._cpp_chunk_chooser = CountingChooser(self.planner)
        schedule, update = self.scheduler.schedule, self.scheduler.update_from_output

        def watched_schedule(*args: Any) -> Any:
            output = schedule(*args)
            self.scheduled.append(output)
            for one in self.scheduler.requests.values():
                self.most_placeholders = max(self.most_placeholders, one.num_output_placeholders)
                self.most_preemptions = max(self.most_preemptions, one.num_preemptions)
            return output

        def watched_update(scheduler_output: Any, model_output: Any) -> Any:
            self.processed.append((scheduler_output, model_output))
            return update(scheduler_output, model_output)

        self.scheduler.schedule, self.scheduler.update_from_output = (
            watched_schedule,
            watched_update,
        )

    def add(self, name: str, num_tokens: int, max_tokens: int = 1) -> None:
        rng = random.Random(name)
        request, wave = self.core.preprocess_add_request(
            EngineCoreRequest(
                request_id=name,
                prompt_token_ids=rng.choices(range(NUM_PLAIN_TOKENS), k=num_tokens),
                mm_features=None,
                sampling_params=SamplingParams(max_tokens=max_tokens, ignore_eos=True),
                pooling_params=None,
                arrival_time=0.0,
                lora_request=None,
                cache_salt=None,
                data_parallel_rank=None,
            )
        )
        self.core.add_request(request, wave)

    def step(self) -> None:
        outputs, _ = self.core.step_fn()
        for one in (outputs or {}).values():
            for output in one.outputs:
                self.tokens.setdefault(output.request_id, []).extend(output.new_token_ids)

    def run(self) -> None:
        """Until nothing is left, in the queue of batches either."""
        for _ in range(5000):
            if not (self.scheduler.has_requests() or self.core.batch_queue):
                return
            self.step()
        raise AssertionError("the engine does not come to an end")

    def settle(self) -> None:
        """Has the answers of workers that are still under way joined."""
        joining = self.scheduler._cpp_chunk_feedback
        for _ in range(3):
            # Whatever is asked of the workers, answers to earlier questions are taken first.
            self.core.model_executor.collective_rpc("get_supported_kv_cache_layouts")
            if (refit := joining._refits._under_way) is not None:
                wait([refit])
            joining.processed(idle=True)

    def events(self, kind: str) -> list[dict[str, Any]]:
        assert self.scheduler._cpp_chunk_feedback._report.trace.wait(30)
        lines = self.trace_path.read_text().splitlines()
        return [event for event in map(json.loads, lines) if event["event"] == kind]


def state_of(scheduler: Any) -> dict[str, Any]:
    """What serving goes on from."""
    manager = scheduler.kv_cache_manager
    return {
        "requests": dict(scheduler.requests),
        "running": list(scheduler.running),
        "waiting": len(scheduler.waiting),
        "finished": set(scheduler.finished_req_ids),
        "free blocks": manager.block_pool.get_num_free_blocks(),
        "cached blocks": len(manager.block_pool.cached_block_hash_to_block),
        "blocks of requests": [
            dict(one.req_to_blocks) for one in manager.coordinator.single_type_managers
        ],
        "prefix statistics": manager.prefix_cache_stats and vars(manager.prefix_cache_stats).copy(),
        "splits": scheduler._cpp_chunk_model_splits,
        "chooser": scheduler._cpp_chunk_chooser,
    }


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Engine]]:
    """Starts engine cores with the plugin's own patches, and takes all of it out again."""
    from vllm import envs

    patch_places(monkeypatch)
    # A configuration sets vLLM's logging up, for the whole process.
    logger = logging.getLogger("vllm")
    handlers, propagate = list(logger.handlers), logger.propagate
    trace_path = tmp_path / "trace.jsonl"
    for variable, value in {
        "HF_HUB_OFFLINE": "1",
        "VLLM_PLUGINS": "",
        TRACE_FILE_VARIABLE: str(trace_path),
        CACHE_DIR_VARIABLE: str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(variable, value)
    model = write_tiny_model(tmp_path / "model", TinyModelShape(num_layers=STAGES))
    started: list[EngineCore] = []
    find_profile = startup.find_profile

    def started_engine(pace: str = "fast", num_blocks: int = 2048) -> Engine:
        numbers = random.Random(7)
        # How many messages the stages have taken when the engine core has sent the next one.
        paces = {"slow": lambda: 0, "fast": lambda: 9, "random": lambda: numbers.choice([0, 1, 3])}
        executor = type(
            "Executor",
            (ScriptedExecutor,),
            {"pace": staticmethod(paces[pace]), "num_blocks": num_blocks},
        )
        seen: list[dict[str, Any]] = []

        def watched(scheduler: Any, *args: Any) -> Any:
            seen.append(state_of(scheduler))
            found = find_profile(scheduler, *args)
            seen.append(state_of(scheduler))
            return found

        monkeypatch.setattr(startup, "find_profile", watched)
        # An engine core makes vLLM remember the environment.
        envs.disable_envs_cache()
        monkeypatch.delenv("VLLM_USE_V2_MODEL_RUNNER", raising=False)
        config = EngineArgs(
            model=str(model),
            load_format="dummy",
            dtype="float32",
            enforce_eager=True,
            pipeline_parallel_size=STAGES,
            max_model_len=MAX_MODEL_LEN,
            max_num_batched_tokens=BUDGET,
            max_num_seqs=16,
            additional_config={"profiling_chunk_config": {"enabled": True}},
        ).create_engine_config()
        # A configuration with the V2 runner is refused without Triton, before anything of it
        # runs; what the engine core makes of one needs neither.
        monkeypatch.setenv("VLLM_USE_V2_MODEL_RUNNER", "1")
        config.scheduler_config.async_scheduling = True
        core = EngineCore(config, executor, log_stats=True)
        started.append(core)
        return Engine(core, trace_path, *seen)

    yield started_engine
    for core in started:
        core.shutdown()
    envs.disable_envs_cache()
    logger.handlers, logger.propagate = handlers, propagate


def patch_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """The patches, as the plugin puts them in; other tests get vLLM's own functions back."""
    for seam in (EXECUTOR, SCHEDULER, LAZY_RECEIVE, TOKENS_V2):
        owner = getattr(importlib.import_module(seam.module), seam.cls)
        monkeypatch.setattr(owner, seam.attribute, getattr(owner, seam.attribute))
    apply_engine()


@pytest.mark.parametrize("pace", ["slow", "fast", "random"])
def test_one_batch_more_than_stages_is_in_flight_and_nothing_is_mixed_up(
    start: Callable[..., Engine], pace: str
) -> None:
    engine = start(pace)
    assert engine.core.vllm_config.use_v2_model_runner
    assert isinstance(engine.scheduler, AsyncScheduler)
    assert type(engine.scheduler).__name__ == "DynamicChunkAsyncScheduler"
    assert engine.core.batch_queue_size == STAGES + 1

    engine.add("long", 30_000, max_tokens=5)
    for _ in range(3):
        engine.step()
    engine.add("short", 40, max_tokens=20)
    engine.add("middle", 5_000, max_tokens=3)
    for _ in range(4):
        engine.step()
    engine.add("aborted", 20_000)
    for _ in range(6):
        engine.step()
    engine.core.abort_requests(["aborted"])
    engine.run()

    assert {name: len(tokens) for name, tokens in engine.tokens.items()} == {
        "long": 5,
        "short": 20,
        "middle": 3,
    }
    assert engine.most_placeholders > 0
    # Answers come in the order in which steps were scheduled, and come as outputs.
    order = {id(output): number for number, output in enumerate(engine.scheduled)}
    processed = [order[id(output)] for output, _ in engine.processed]
    assert processed == sorted(processed)
    assert {type(answer) for _, answer in engine.processed} == {ModelRunnerOutput}
    assert engine.chooser.most_in_flight == STAGES + 1
    assert engine.chooser.in_flight == 0
    assert engine.scheduler._cpp_chunk_chooser is engine.chooser, "chunks have become fixed"
    check_joined(engine)


@pytest.mark.parametrize("pace", ["slow", "random"])
def test_requests_that_lose_their_blocks_in_flight_are_counted_right(
    start: Callable[..., Engine], pace: str
) -> None:
    prompt_tokens = 128 * BLOCK - 84
    # For both prompts, but not for what both generate; one block is vLLM's own.
    engine = start(pace, num_blocks=2 * 128 + 2)
    free_blocks = state_of(engine.scheduler)["free blocks"]
    for name in ("first", "second"):
        engine.add(name, prompt_tokens, max_tokens=200)
    engine.run()
    assert engine.most_preemptions > 0
    assert {name: len(tokens) for name, tokens in engine.tokens.items()} == {
        "first": 200,
        "second": 200,
    }
    assert engine.chooser.in_flight == 0
    assert state_of(engine.scheduler)["free blocks"] == free_blocks
    check_joined(engine)


def check_joined(engine: Engine) -> None:
    """Each traced step has the times that its stages took for just these chunks."""
    engine.settle()
    steps = engine.events("step")
    assert len(steps) > STAGES
    for step in steps:
        chunks = [(num_tokens, history) for _, num_tokens, history in step["chunks"]]
        for model, stage in zip(MODELS, step["stages"], strict=True):
            # A device's times are in single precision.
            assert stage["compute_ms"] == pytest.approx(model.step_ms(chunks), rel=1e-5)
        assert step["predicted_ms"] == pytest.approx(
            max(model.step_ms(chunks) for model in MODELS), rel=1e-3
        )
    assert [step["step"] for step in steps] == sorted(step["step"] for step in steps)
    status = engine.scheduler._cpp_chunk_feedback._report.status
    assert status.skipped_steps == {}
    assert status.measured_steps == len(steps)


def test_a_profile_is_taken_and_leaves_nothing_behind(start: Callable[..., Engine]) -> None:
    engine = start("random")
    assert engine.before_profile == engine.after_profile
    assert not engine.after_profile["requests"]
    report = engine.scheduler._cpp_chunk_feedback._report
    assert report.status.profile == "measured"
    assert 3 < report.status.profile_passes <= 16
    [event] = engine.events("model")
    for model, fitted in zip(MODELS, event["stages"], strict=True):
        for name in ("quadratic", "cross", "linear", "constant"):
            assert fitted[name] == pytest.approx(getattr(model, name), rel=0.01)
    assert event["gap_ms"] == pytest.approx(GAP_MS, rel=0.01)
    # The next start trusts it.
    again = start("random")
    assert again.scheduler._cpp_chunk_feedback._report.status.profile == "remembered"
    assert again.before_profile == again.after_profile


def test_a_prompt_is_cut_by_the_plan_and_the_pipeline_counts_as_idle_after_it(
    start: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Refits end when they do, and move a chunk by a block.
    monkeypatch.setattr(refits, "_REFIT_EVERY_SAMPLES", 1_000_000)
    engine = start()
    chunks: dict[str, list[int]] = {}
    for name, num_tokens in {"first": 8_000, "long": 30_000, "second": 8_000}.items():
        engine.add(name, num_tokens)
        engine.run()
        chunks[name] = [
            output.num_scheduled_tokens[name]
            for output in engine.scheduled
            if name in output.num_scheduled_tokens
        ]
        assert sum(chunks[name]) == num_tokens
        assert all(chunk <= BUDGET for chunk in chunks[name])
        assert all(chunk % BLOCK == 0 for chunk in chunks[name][:-1])
    # Only an idle pipeline forgets what the step times of the long one were set for.
    assert chunks["first"] == chunks["second"]
    assert len(chunks["first"]) > STAGES


def test_a_trace_that_cannot_be_written_costs_one_warning(
    start: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the start on, whose passes are its first lines."""
    monkeypatch.setenv(TRACE_FILE_VARIABLE, "/dev/full")
    said: list[str] = []
    # A configuration takes the handlers from loggers.
    monkeypatch.setattr(
        file_thread.logger, "warning", lambda words, *args, **_: said.append(words % args)
    )
    engine = start()
    for name in ("first", "second"):
        engine.add(name, 30_000)
        engine.run()
    served = engine.scheduler._cpp_chunk_feedback
    assert served._report.trace.wait(60)
    assert [words.partition(":")[0] for words in said] == ["the trace cannot be written"]
    assert engine.scheduler._cpp_chunk_chooser is engine.chooser
    assert engine.planner.target_ms is not None
    chunks = [sum(one.num_scheduled_tokens.values()) for one in engine.scheduled]
    assert max(chunks) < BUDGET, "chunks have become fixed"
    assert served._report.status.measured_steps > STAGES
    assert served._report.status.fallbacks == {}


def test_the_timer_touches_one_function_of_the_runner(start: Callable[..., Engine]) -> None:
    for stage in start().core.model_executor.stages:
        added = set(vars(stage.model_runner)) - set(vars(ScriptedRunner(stage)))
        assert added == {"execute_model", "_cpp_chunk_step_timer"}


def installed(module: str) -> ast.Module:
    """The source of a module of the installed vLLM, which need not be importable here."""
    spec = importlib.util.find_spec("vllm")
    assert spec is not None and spec.origin is not None
    path = Path(spec.origin).parent.joinpath(*module.split(".")).with_suffix(".py")
    return ast.parse(path.read_text())


def functions(tree: ast.AST, name: str) -> list[ast.FunctionDef]:
    return [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name
    ]


def test_the_v2_runner_takes_a_step_as_the_timer_hands_it_on() -> None:
    [execute_model] = functions(installed("v1.worker.gpu.model_runner"), "execute_model")
    names = [argument.arg for argument in execute_model.args.args]
    assert names[:3] == ["self", "scheduler_output", "intermediate_tensors"]
    ours = list(inspect.signature(ScriptedRunner.execute_model).parameters)
    assert ours == names[: len(ours)]
    # Every call hands the step over by position, since that is how the timer takes it.
    calls = [
        node
        for node in ast.walk(installed("v1.worker.gpu_worker"))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "self.model_runner.execute_model"
    ]
    assert calls
    assert all(call.args and ast.unparse(call.args[0]) == "scheduler_output" for call in calls)


def test_the_v2_runner_samples_in_a_call_of_its_own() -> None:
    """So what the timer times ends before sampling, and its result is no answer to the engine."""
    tree = installed("v1.worker.gpu.model_runner")
    [execute_model] = functions(tree, "execute_model")
    [sample_tokens] = functions(tree, "sample_tokens")
    assert "AsyncOutput" not in ast.unparse(execute_model)
    assert "AsyncOutput(" in ast.unparse(sample_tokens)
