"""Profile: which start-up passes, how one is run, and what is put back.

A pass is one chunk of `x` tokens at history `h`, run through the real scheduler and the real
executor: a synthetic request is added with `num_computed_tokens = h`, as one that is resumed
after a remote KV load has it, so nothing of the history is computed and no layout is touched.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from cpp_chunk.engine.planner import OneChunk
from cpp_chunk.log import init_logger
from cpp_chunk.worker.timer import STEP_ID

if TYPE_CHECKING:
    from cpp_chunk.engine.stages import StageTimers, StageTimes

logger = init_logger(__name__)

MAX_PASSES = 24
_NUM_MEASURED_TWICE = 8
# A pass leaves this much of its prompt, so nothing is sampled, and the prompt is still a prefill
# that the chooser can hold back while the next pass goes.
_TOKENS_LEFT = 2


class ProfileError(RuntimeError):
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
    def slowest_ms(self) -> float:
        """The slowest stage's compute."""
        return max(compute_ms for _, compute_ms in self.stages)


def plan_passes(
    max_chunk_tokens: int, max_context_tokens: int, alignment_tokens: int
) -> list[tuple[int, int]]:
    """The passes as (num_tokens, num_computed_tokens), the cheapest first, warm-up excluded.

    Large chunks are measured without history and long histories with small chunks: that
    separates the five coefficients, and no pass costs more than the largest step that serving
    may run. The cheapest are measured twice: there noise is largest, and a mistake about the
    constant dearest.

    Args:
        max_chunk_tokens: vLLM's token budget of a step.
        max_context_tokens: what a request may hold: `max_model_len`, or the KV cache if smaller.
        alignment_tokens: sizes and histories are multiples of this where they can be.
    """

    def aligned(num_tokens: float) -> int:
        return max(1, int(num_tokens) // alignment_tokens * alignment_tokens or int(num_tokens))

    largest = min(max_chunk_tokens, max_context_tokens - 1)
    sizes = sorted({aligned(largest / 2**power) for power in range(7)}, reverse=True)
    # Below the alignment little is scheduled but tails, and below 32 a pass is all overhead; but
    # under a small budget a fit needs some sizes too.
    smallest = max(32, min(alignment_tokens, largest // 8))
    sizes = [size for size in sizes if size >= min(largest, smallest)]
    passes = {(size, 0) for size in sizes[:6]}
    middle, small = sizes[len(sizes) // 2], sizes[-1]
    for size, shares in ((middle, (0.25, 0.5, 0.75, 1.0)), (small, (0.25, 0.5, 1.0))):
        passes |= {(size, aligned(share * (max_context_tokens - 1 - size))) for share in shares}
    # What a pass costs grows with the cells of the attention matrix; a token costs about as
    # much as a thousand cells in models of any size that is served.
    by_cost = sorted(passes, key=lambda one: one[0] * (1000 + one[1] + one[0] / 2))
    return sorted(by_cost + by_cost[:_NUM_MEASURED_TWICE], key=by_cost.index)


class Profiler:
    """Runs passes on the loaded model, while nothing else is in flight.

    The passes follow each other through the pipeline as chunks do when serving: so all stages
    are busy at once, and what they cost each other is in the measurement.

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
        self._in_flight: deque[_RunningPass] = deque()
        self.step_id = 0

    def run(self) -> tuple[ProfilePass, ...]:
        """Warm-up, then every pass.

        Returns:
            The measured passes; a pass for which there was no room is missing.

        Raises:
            ProfileError: passes could not be run or timed.
        """
        scheduler = self._scheduler
        if scheduler.requests:
            raise ProfileError("requests are in flight")
        pool = scheduler.kv_cache_manager.block_pool
        num_free_blocks = pool.get_num_free_blocks()
        try:
            return self._measure()
        finally:
            scheduler.cpp_chunk_use(None)
            self._finish(list(scheduler.requests))
            self._run_empty_step()
            # The cache was empty, since nothing has been served yet: so is it, its statistics
            # and its events again.
            scheduler.reset_prefix_cache()
            scheduler.kv_cache_manager.make_prefix_cache_stats()
            scheduler.kv_cache_manager.take_events()
            left = pool.get_num_free_blocks()
            if left != num_free_blocks:
                logger.error("profiling left %d free KV blocks of %d", left, num_free_blocks)

    def _measure(self) -> tuple[ProfilePass, ...]:
        scheduler = self._scheduler
        passes = plan_passes(
            scheduler.max_num_scheduled_tokens,
            min(scheduler.max_model_len, self._kv_capacity_tokens()) - _TOKENS_LEFT,
            scheduler.block_size,
        )
        # The largest chunk grows every buffer to its size; the first use of one costs extra.
        largest = max(passes)
        warm_up = [largest, passes[0]]
        run: list[tuple[int, int, int]] = []
        for num_tokens, history in tqdm(
            warm_up + passes, desc="[cpp_chunk] profiling prefill", unit="pass"
        ):
            had_history = self._start_pass(num_tokens, history)
            if had_history is not None:
                run.append((self.step_id, num_tokens, had_history))
        self._drain()
        times = self._stages.read_now(after_step_id=0)
        return tuple(
            ProfilePass(num_tokens, history, self._stages_of(step_id, times))
            for step_id, num_tokens, history in run[len(warm_up) :]
        )

    def _stages_of(self, step_id: int, times: StageTimes) -> tuple[tuple[float, float], ...]:
        stages = times.get(step_id, {})
        if len(stages) < self._num_stages:
            raise ProfileError(f"only stages {sorted(stages)} have timed pass {step_id}")
        return tuple(time for _, time in sorted(stages.items()))

    def _kv_capacity_tokens(self) -> int:
        """Tokens of one request that the free KV blocks hold, by vLLM's own estimate."""
        from vllm.v1.core.kv_cache_utils import get_max_concurrency_for_kv_cache_config

        scheduler = self._scheduler
        requests = get_max_concurrency_for_kv_cache_config(
            scheduler.vllm_config, scheduler.kv_cache_config
        )
        return int(min(1.0, requests) * scheduler.max_model_len)

    def _start_pass(self, num_tokens: int, history: int) -> int | None:
        """Hands one pass to the executor.

        Returns:
            Its history: halved until its KV blocks could be had. None: there was no room at all.
        """
        if len(self._in_flight) == self._num_stages:
            self._complete_oldest()
        while True:
            request_id, output = self._schedule(num_tokens, history)
            if output.num_scheduled_tokens.get(request_id) == num_tokens:
                break
            self._finish([request_id])
            if self._in_flight:
                self._drain()
            elif history:
                history //= 2
            else:
                return None
        executed = self._executor.execute_model(output, non_block=True)
        sampled = self._executor.sample_tokens(None, non_block=True)
        self._in_flight.append(_RunningPass(request_id, output, executed, sampled))
        return history

    def _schedule(self, num_tokens: int, history: int) -> tuple[str, Any]:
        """Adds a request with this history and has the scheduler take one chunk of it."""
        from vllm.sampling_params import SamplingParams
        from vllm.v1.request import Request

        scheduler = self._scheduler
        # Random tokens, so that a mixture of experts spreads them as it would spread text.
        vocabulary = range(scheduler.vllm_config.model_config.get_vocab_size())
        self.step_id += 1
        request = Request(
            request_id=f"cpp-chunk-profile-{self.step_id}",
            prompt_token_ids=self._random.choices(
                vocabulary, k=history + num_tokens + _TOKENS_LEFT
            ),
            sampling_params=SamplingParams(max_tokens=1, temperature=0.0),
            pooling_params=None,
            block_hasher=self._unique_block_hashes,
        )
        request.num_computed_tokens = history
        scheduler.add_request(request)
        scheduler.cpp_chunk_use(OneChunk(num_tokens, _TOKENS_LEFT))
        output = scheduler.schedule()
        setattr(output, STEP_ID, self.step_id)
        return request.request_id, output

    def _unique_block_hashes(self, request: Any) -> list[Any]:
        """What prefix caching wants of a request: here, hashes that nothing else ever has."""
        num_blocks = request.num_tokens // self._scheduler.hash_block_size
        return [self._random.randbytes(32) for _ in range(num_blocks)]

    def _complete_oldest(self) -> None:
        """Takes the oldest pass's output, as vLLM's own loop does, and lets go of its request."""
        one = self._in_flight.popleft()
        model_output = one.sampled.result()
        if model_output is None:
            one.executed.result()
            raise ProfileError("the executor returned no output")
        self._scheduler.update_from_output(one.output, model_output)
        self._finish([one.request_id])

    def _drain(self) -> None:
        while self._in_flight:
            self._complete_oldest()

    def _finish(self, request_ids: list[str]) -> None:
        from vllm.v1.request import RequestStatus

        self._scheduler.finish_requests(request_ids, RequestStatus.FINISHED_ABORTED)

    def _run_empty_step(self) -> None:
        """Tells the workers which requests have gone."""
        output = self._scheduler.schedule()
        executed = self._executor.execute_model(output, non_block=True).result()
        if executed is not None:
            self._scheduler.update_from_output(output, executed)


@dataclass(frozen=True)
class _RunningPass:
    request_id: str
    output: Any
    executed: Any
    sampled: Any
