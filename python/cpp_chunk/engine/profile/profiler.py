"""Profile: how a start-up pass is run, and what is put back.

A pass is one chunk of `x` tokens at history `h`, run through the real scheduler and the real
executor: a synthetic request is added with `num_computed_tokens = h`, as one that is resumed
after a remote KV load has it, so nothing of the history is computed and no layout is touched.
"""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cpp_chunk.engine.profile.one_chunk import OneChunk
from cpp_chunk.log import init_logger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from cpp_chunk.engine.stage_timers import StageTimers, StageTimes

logger = init_logger(__name__)

# A pass leaves at least this much of its prompt, so nothing is sampled, and the prompt is still a
# prefill that the chooser can hold back while the next pass goes.
_LEAST_TOKENS_LEFT = 2
# The first pass is a warm-up: it may build kernels, and its time counts nowhere.
_WARM_UP_STEP_ID = 1
# Passes are chosen to be far shorter. One that takes this long met something that a profile must
# not be built on: a stage that hung, a machine that swaps.
LONGEST_PASS_S = 30.0


class ProfilingError(RuntimeError):
    """The profile could not be taken; the message says why."""


@dataclass(frozen=True)
class ProfilePass:
    """One measured pass.

    Attributes:
        num_tokens: the chunk.
        num_computed_tokens: its history.
        stages: of each stage, when it began on the machine's monotonic clock, in seconds, and
            its compute in milliseconds.
    """

    num_tokens: int
    num_computed_tokens: int
    stages: tuple[tuple[float, float], ...]

    @property
    def stage_ms(self) -> list[float]:
        """Each stage's compute."""
        return [compute_ms for _, compute_ms in self.stages]

    @property
    def slowest_ms(self) -> float:
        """The slowest stage's compute."""
        return max(self.stage_ms)


class Profiler:
    """Runs passes on the loaded model, while nothing else is in flight; a context manager.

    The passes of a round follow each other through the pipeline as chunks do when serving: so all
    stages are busy at once, and what they cost each other is in the measurement.

    Args:
        scheduler: the real scheduler (with our mixin), no request in it.
        executor: the real executor.
        stages: timers, installed.
    """

    def __init__(self, scheduler: Any, executor: Any, stages: StageTimers) -> None:
        self._scheduler = scheduler
        self._executor = executor
        self._stages = stages
        self._num_stages: int = scheduler.parallel_config.pipeline_parallel_size
        self._random = random.Random(0)
        # vLLM ends no chunk nearer to the prompt's end than drafters look ahead (releases that know
        # such drafters), and takes blocks for the drafts.
        self._tokens_left = max(_LEAST_TOKENS_LEFT, getattr(scheduler, "num_prefill_lookahead", 0))
        self._tokens_beyond = max(self._tokens_left, getattr(scheduler, "num_lookahead_tokens", 0))
        self._pooling_task: str | None = None
        self._in_flight: deque[_RunningStep] = deque()
        self._num_free_blocks = 0
        self._connector: Any = None
        self._long_prefill_token_threshold = 0
        self._num_requests = 0
        self.step_id: int = scheduler.cpp_chunk_book.last_step_id
        self.num_passes = 0

    @property
    def max_context_tokens(self) -> int:
        """What a pass may hold, chunk and history together: as long as the KV cache allows."""
        max_model_len: int = self._scheduler.max_model_len
        return min(max_model_len, self._kv_capacity_tokens()) - self._tokens_beyond

    def __enter__(self) -> Self:
        """Raises ProfilingError where requests are in flight, or a pooling model has no task."""
        if self._scheduler.requests:
            raise ProfilingError("requests are in flight")
        self._pooling_task = _pooling_task(self._scheduler, self._executor)
        self._num_free_blocks = self._block_pool.get_num_free_blocks()
        connector = self._scheduler.connector
        if connector is not None:
            # One that cannot be told of nothing is found out before anything runs.
            _nothing_to_transfer(connector)
        try:
            self._stages.guard_passes()
        except Exception:
            # On some of the workers it may be.
            self._stages.end_pass_guard()
            raise
        # It would be told of requests that nobody sent and of KV that nobody computed.
        self._connector, self._scheduler.connector = connector, None
        # It cuts one prompt's chunk for the sake of others, and a pass has no others to spare.
        config = self._scheduler.scheduler_config
        self._long_prefill_token_threshold = config.long_prefill_token_threshold
        config.long_prefill_token_threshold = 0
        return self

    def __exit__(self, *_: object) -> None:
        """Puts back what passes have changed.

        Raises:
            ProfilingError: a stage failed in one of the passes.
        """
        try:
            self._put_back()
        finally:
            self._scheduler.connector = self._connector
            self._scheduler.scheduler_config.long_prefill_token_threshold = (
                self._long_prefill_token_threshold
            )
            # While serving, a stage that fails is vLLM's to handle.
            failures = self._stages.end_pass_guard()
        if failures:
            raise ProfilingError(f"a pass failed on {failures[0]}")

    def _put_back(self) -> None:
        from vllm.v1.outputs import EMPTY_MODEL_RUNNER_OUTPUT

        scheduler = self._scheduler
        scheduler.cpp_chunk_use(None)
        self._finish(list(scheduler.requests))
        while self._in_flight:
            # vLLM hands answers out in order, and counts them: one that is not taken would meet the
            # next step. What a pass that ended the profile has to say is told already.
            step = self._in_flight.popleft()
            step.wait_for_end()
            scheduler.update_from_output(step.output, EMPTY_MODEL_RUNNER_OUTPUT)
        try:
            # Tells the workers which requests have gone.
            self._run_step()
            self._drain()
        finally:
            self._forget_passes()

    def _forget_passes(self) -> None:
        scheduler = self._scheduler
        # The cache was empty, since nothing has been served yet: so is it, its statistics
        # and its events again.
        scheduler.reset_prefix_cache()
        scheduler.kv_cache_manager.make_prefix_cache_stats()
        scheduler.kv_cache_manager.take_events()
        left = self._block_pool.get_num_free_blocks()
        if left != self._num_free_blocks:
            logger.error("profiling left %d free KV blocks of %d", left, self._num_free_blocks)

    def run(self, passes: Sequence[tuple[int, int]]) -> list[ProfilePass]:
        """Runs one round of passes, given as (num_tokens, num_computed_tokens).

        Returns:
            The measured passes, as vLLM has scheduled them; a history is halved until its KV
            blocks can be had, and a pass for which there is no room at all is missing.

        Raises:
            ProfilingError: a pass could not be run or timed, or took too long.
        """
        first_step_id = self.step_id
        run: list[tuple[int, int, int]] = []
        for num_tokens, history in passes:
            chunk = self._start_pass(num_tokens, history)
            if chunk is not None:
                run.append((self.step_id, *chunk))
                self.num_passes += 1
        self._drain()
        times = self._stages.read_now(after_step_id=first_step_id)
        return [
            ProfilePass(num_tokens, history, self._stages_of(step_id, times))
            for step_id, num_tokens, history in run
        ]

    @property
    def _block_pool(self) -> Any:
        return self._scheduler.kv_cache_manager.block_pool

    def _stages_of(self, step_id: int, times: StageTimes) -> tuple[tuple[float, float], ...]:
        stages = times.get(step_id, {})
        if len(stages) < self._num_stages:
            raise ProfilingError(f"only stages {sorted(stages)} have timed pass {step_id}")
        longest_s = _longest_s(step_id)
        for stage, (_, compute_ms) in stages.items():
            if not (math.isfinite(compute_ms) and 0 < compute_ms <= 1e3 * longest_s):
                raise ProfilingError(
                    f"stage {stage} timed pass {step_id} as {compute_ms:g} ms: allowed is more "
                    f"than 0 and at most {longest_s:g} s"
                )
        return tuple(time for _, time in sorted(stages.items()))

    def _kv_capacity_tokens(self) -> int:
        """The longest request for which `_has_room` says yes."""
        groups = self._scheduler.kv_cache_config.kv_cache_groups
        blocks_of_a_token = sum(1 / group.kv_cache_spec.block_size for group in groups)
        # Of each group's blocks the last one may hold a single token.
        return int((self._block_pool.get_num_free_blocks() - len(groups)) / blocks_of_a_token)

    def _start_pass(self, num_tokens: int, history: int) -> tuple[int, int] | None:
        """Hands one pass to the executor.

        Returns:
            Its chunk and history as vLLM has scheduled it, None where there was no room at all.
        """
        if len(self._in_flight) == self._num_stages:
            self._complete_oldest()
        while True:
            in_company = bool(self._in_flight)
            if self._has_room(num_tokens + history + self._tokens_beyond):
                scheduled_tokens = self._schedule(num_tokens, history)
                if scheduled_tokens != num_tokens:
                    # More of its prompt is left than the chooser holds back.
                    self._drain()
                if scheduled_tokens:
                    return scheduled_tokens, history
            if in_company:
                self._drain()
            elif history:
                history //= 2
            else:
                return None

    def _has_room(self, num_tokens: int) -> bool:
        """Whether the free KV blocks hold a request of so many tokens.

        vLLM counts for sliding windows what they keep, and then takes blocks for the whole history
        of a request that comes with one.
        """
        groups = self._scheduler.kv_cache_config.kv_cache_groups
        needed = sum(math.ceil(num_tokens / group.kv_cache_spec.block_size) for group in groups)
        has_room: bool = needed < self._block_pool.get_num_free_blocks()
        return has_room

    def _schedule(self, num_tokens: int, history: int) -> int:
        """Adds a request with this history and runs the step that takes one chunk of it.

        Returns:
            The tokens that vLLM took of it; 0 where it found no room.
        """
        from vllm.v1.request import Request

        scheduler = self._scheduler
        # Random tokens, so that a mixture of experts spreads them as it would spread text.
        vocabulary = range(scheduler.vllm_config.model_config.get_vocab_size())
        self._num_requests += 1
        request_id = f"cpp-chunk-profile-{self._num_requests}"
        sampling_params, pooling_params = self._params()
        request = Request(
            request_id=request_id,
            prompt_token_ids=self._random.choices(
                vocabulary, k=history + num_tokens + self._tokens_left
            ),
            sampling_params=sampling_params,
            pooling_params=pooling_params,
            block_hasher=self._unique_block_hashes,
        )
        request.num_computed_tokens = history
        scheduler.add_request(request)
        scheduler.cpp_chunk_use(OneChunk(num_tokens, self._tokens_left))
        scheduled_tokens = self._run_step(request_id)
        if not scheduled_tokens:
            self._finish([request_id])
        return scheduled_tokens

    def _params(self) -> tuple[Any, Any]:
        """How a pass is to be sampled, or pooled: one of them is None. It never comes to either."""
        if self._pooling_task is None:
            from vllm.sampling_params import SamplingParams

            return SamplingParams(max_tokens=1, temperature=0.0), None
        from vllm.pooling_params import PoolingParams

        return None, PoolingParams(task=self._pooling_task)

    def _run_step(self, request_id: str = "") -> int:
        """Has vLLM schedule a step and hands it to the executor, as vLLM's own loop does.

        Whatever is in it, if only which requests have finished: workers hear of that once.

        Returns:
            The tokens of this request in it.
        """
        metadata = None if self._connector is None else _nothing_to_transfer(self._connector)
        scheduler = self._scheduler
        output = scheduler.schedule()
        if metadata is not None:
            # Workers want to be told what to load and save.
            output.kv_connector_metadata = metadata
        num_tokens: int = output.num_scheduled_tokens.get(request_id, 0)
        # The book has numbered it.
        self.step_id = scheduler.cpp_chunk_book.last_step_id
        executed = answer = self._executor.execute_model(output, non_block=True)
        if output.total_num_scheduled_tokens and self._pooling_task is None:
            answer = self._executor.sample_tokens(None, non_block=True)
        pass_id = request_id if num_tokens else None
        self._in_flight.append(_RunningStep(self.step_id, pass_id, output, executed, answer))
        return num_tokens

    def _unique_block_hashes(self, request: Any) -> list[Any]:
        """What prefix caching wants of a request: here, hashes that nothing else ever has."""
        num_blocks = request.num_tokens // self._block_pool.hash_block_size
        return [self._random.randbytes(32) for _ in range(num_blocks)]

    def _complete_oldest(self) -> None:
        """Takes the oldest step's output, as vLLM's own loop does, and lets go of its request."""
        step = self._in_flight[0]
        # One that fails stays, and is put back in the end.
        model_output = _output_of(step)
        self._in_flight.popleft()
        self._scheduler.update_from_output(step.output, model_output)
        if step.request_id is not None:
            self._finish([step.request_id])

    def _drain(self) -> None:
        while self._in_flight:
            self._complete_oldest()

    def _finish(self, request_ids: list[str]) -> None:
        from vllm.v1.request import RequestStatus

        self._scheduler.finish_requests(request_ids, RequestStatus.FINISHED_ABORTED)


def _output_of(step: _RunningStep) -> Any:
    """Waits for the answer to a step.

    Raises:
        ProfilingError: a pass has none, or took too long.
    """
    from vllm.v1.outputs import EMPTY_MODEL_RUNNER_OUTPUT

    begun_s = time.monotonic()
    model_output = step.answer.result()
    if step.request_id is None:
        return model_output or EMPTY_MODEL_RUNNER_OUTPUT
    if model_output is None or step.request_id not in model_output.req_id_to_index:
        step.executed.result()
        raise ProfilingError(f"pass {step.request_id} has no output")
    if time.monotonic() - begun_s > _longest_s(step.step_id):
        raise ProfilingError(f"pass {step.request_id} took longer than {LONGEST_PASS_S:g} s")
    return model_output


def _nothing_to_transfer(connector: Any) -> Any:
    from vllm.v1.core.sched.output import SchedulerOutput

    step = SchedulerOutput.make_empty()
    # As schedule() has it: some connectors go through it.
    step.preempted_req_ids = set()
    return connector.build_connector_meta(step)


def _longest_s(step_id: int) -> float:
    return math.inf if step_id == _WARM_UP_STEP_ID else LONGEST_PASS_S


def _pooling_task(scheduler: Any, executor: Any) -> str | None:
    """What a pooling model's requests ask for: the first thing that it can do; None for others."""
    if scheduler.vllm_config.model_config.runner_type != "pooling":
        return None
    from vllm.tasks import POOLING_TASKS

    tasks = [task for task in executor.supported_tasks if task in POOLING_TASKS]
    if not tasks:
        raise ProfilingError("the model pools, and names no task that it pools for")
    return str(tasks[0])


@dataclass(frozen=True)
class _RunningStep:
    """A step that the executor has. `request_id` is its pass's, None where it holds none."""

    step_id: int
    request_id: str | None
    output: Any
    executed: Any
    answer: Any

    def wait_for_end(self) -> None:
        for future in (self.executed, self.answer):
            # How it failed is told by what ended the profile.
            with contextlib.suppress(Exception):
                future.result()
