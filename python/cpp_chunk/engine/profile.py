"""Profile: which start-up passes, how one is run, and what is put back.

A pass is one chunk of `x` tokens at history `h`, run through the real scheduler and the real
executor: a synthetic request is added with `num_computed_tokens = h`, as one that is resumed
after a remote KV load has it, so nothing of the history is computed and no layout is touched.
"""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from cpp_chunk.engine.feedback import STEP_ID
from cpp_chunk.engine.planner import OneChunk
from cpp_chunk.log import init_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cpp_chunk.engine.stages import StageTimers

logger = init_logger(__name__)

_REQUEST_ID = "cpp-chunk-profile"
MAX_PASSES = 24
_NUM_WARM_UP_PASSES = 2


class ProfileError(RuntimeError):
    """The profile could not be taken; the message says why."""


@dataclass(frozen=True)
class ProfilePass:
    """One measured pass.

    Attributes:
        num_tokens: the chunk.
        num_computed_tokens: its history.
        stage_ms: compute of each stage.
        wall_ms: from handing the step to the executor until its output was there.
    """

    num_tokens: int
    num_computed_tokens: int
    stage_ms: tuple[float, ...]
    wall_ms: float

    @property
    def slowest_ms(self) -> float:
        """The slowest stage's compute."""
        return max(self.stage_ms)

    @property
    def gap_ms(self) -> float:
        """What the pass cost beyond its stages' compute, a stage."""
        return max(0.0, self.wall_ms - sum(self.stage_ms)) / len(self.stage_ms)


@dataclass(frozen=True)
class Profile:
    """All measured passes."""

    passes: tuple[ProfilePass, ...]

    @property
    def gap_ms(self) -> float:
        """A step's cost to a stage beyond its compute: scheduling and transfer."""
        return statistics.median(one.gap_ms for one in self.passes)


def plan_passes(
    max_chunk_tokens: int, max_context_tokens: int, alignment_tokens: int
) -> list[tuple[int, int]]:
    """The passes as (num_tokens, num_computed_tokens), warm-up excluded.

    Large chunks are measured without history and long histories with small chunks: that
    separates the five coefficients, and no pass costs more than the largest step that serving
    may run. The two smallest sizes are measured twice, where noise is largest.

    Args:
        max_chunk_tokens: vLLM's token budget of a step.
        max_context_tokens: what a request may hold: `max_model_len`, or the KV cache if smaller.
        alignment_tokens: sizes and histories are multiples of this where they can be.
    """

    def aligned(num_tokens: float) -> int:
        return max(1, int(num_tokens) // alignment_tokens * alignment_tokens or int(num_tokens))

    largest = min(max_chunk_tokens, max_context_tokens - 1)
    sizes = sorted({aligned(largest / 2**power) for power in range(7)}, reverse=True)
    # Below the alignment nothing is ever scheduled but tails; below 32 a pass is all overhead.
    sizes = [size for size in sizes if size >= min(largest, max(32, alignment_tokens))]
    passes = [(size, 0) for size in sizes[:6]]
    for share, powers in ((0.25, (1, 3)), (0.5, (2, 4)), (0.75, (3,)), (1.0, (2, 4))):
        for power in powers:
            size = sizes[min(power, len(sizes) - 1)]
            history = aligned(share * (max_context_tokens - 1 - size))
            if history > 0:
                passes.append((size, history))
    passes += passes[len(sizes[:6]) - 1 : len(sizes[:6])]
    return list(dict.fromkeys(passes)) + passes[-1:]


class Profiler:
    """Runs passes on the loaded model, while nothing else is in flight.

    Args:
        scheduler: the real scheduler (with our mixin), no request in it.
        executor: the real executor.
        stages: timers, installed.
    """

    def __init__(
        self,
        scheduler: Any,
        executor: Any,
        stages: StageTimers,
    ) -> None:
        self._scheduler = scheduler
        self._executor = executor
        self._stages = stages
        self._random = random.Random(0)
        self.step_id = 0

    def run(self) -> Profile:
        """Warm-up, then every pass.

        Raises:
            ProfileError: no pass could be run or timed.
        """
        scheduler = self._scheduler
        if scheduler.requests:
            raise ProfileError("requests are in flight")
        pool = scheduler.kv_cache_manager.block_pool
        num_free_blocks = pool.get_num_free_blocks()
        try:
            return Profile(tuple(self._measure()))
        finally:
            scheduler.cpp_chunk_use(None)
            if scheduler.requests:
                self._finish()
            # The cache was empty, since nothing has been served yet: so is it, its statistics
            # and its events again.
            scheduler.reset_prefix_cache()
            scheduler.kv_cache_manager.make_prefix_cache_stats()
            scheduler.kv_cache_manager.take_events()
            left = pool.get_num_free_blocks()
            if left != num_free_blocks:
                logger.error("profiling left %d free KV blocks of %d", left, num_free_blocks)

    def _measure(self) -> Iterator[ProfilePass]:
        scheduler = self._scheduler
        passes = plan_passes(
            scheduler.max_num_scheduled_tokens,
            min(scheduler.max_model_len, self._kv_capacity_tokens()) - 1,
            scheduler.block_size,
        )
        warm_up = [passes[len(passes) // 3]] * _NUM_WARM_UP_PASSES
        progress = tqdm(warm_up + passes, desc="[cpp_chunk] profiling prefill", unit="pass")
        for done, (num_tokens, history) in enumerate(progress):
            measured = self._run_pass(num_tokens, history)
            if measured is not None and done >= len(warm_up):
                yield measured

    def _kv_capacity_tokens(self) -> int:
        """Tokens of one request that the free KV blocks hold, by vLLM's own estimate."""
        from vllm.v1.core.kv_cache_utils import get_max_concurrency_for_kv_cache_config

        scheduler = self._scheduler
        requests = get_max_concurrency_for_kv_cache_config(
            scheduler.vllm_config, scheduler.kv_cache_config
        )
        return int(min(1.0, requests) * scheduler.max_model_len)

    def _run_pass(self, num_tokens: int, history: int) -> ProfilePass | None:
        """One chunk at one history; halves the history until its KV blocks can be had."""
        while True:
            output = self._schedule(num_tokens, history)
            if output.total_num_scheduled_tokens == num_tokens:
                break
            self._finish()
            if history == 0:
                return None
            history //= 2
        wall_ms = self._execute(output)
        self._finish()
        stages = self._stages.read_now(self.step_id - 1).get(self.step_id, {})
        if len(stages) < self._scheduler.parallel_config.pipeline_parallel_size:
            raise ProfileError(f"stages {sorted(stages)} only have timed a pass")
        stage_ms = tuple(compute_ms for _, (_, compute_ms) in sorted(stages.items()))
        return ProfilePass(num_tokens, history, stage_ms, wall_ms)

    def _schedule(self, num_tokens: int, history: int) -> Any:
        """Adds a request with this history and has the scheduler take one chunk of it."""
        from vllm.sampling_params import SamplingParams
        from vllm.v1.request import Request

        scheduler = self._scheduler
        model_config = scheduler.vllm_config.model_config
        # One token more than the chunk: the prompt stays unfinished, so nothing is sampled.
        # Random tokens, so that a mixture of experts spreads them as it would spread text.
        vocabulary = range(model_config.get_vocab_size())
        request = Request(
            request_id=_REQUEST_ID,
            prompt_token_ids=self._random.choices(vocabulary, k=history + num_tokens + 1),
            sampling_params=SamplingParams(max_tokens=1, temperature=0.0),
            pooling_params=None,
            block_hasher=self._unique_block_hashes,
        )
        request.num_computed_tokens = history
        scheduler.add_request(request)
        scheduler.cpp_chunk_use(OneChunk(num_tokens))
        output = scheduler.schedule()
        self.step_id += 1
        setattr(output, STEP_ID, self.step_id)
        return output

    def _unique_block_hashes(self, request: Any) -> list[Any]:
        """What prefix caching wants of a request: here, hashes that nothing else ever has."""
        num_blocks = request.num_tokens // self._scheduler.hash_block_size
        return [self._random.randbytes(32) for _ in range(num_blocks)]

    def _execute(self, output: Any) -> float:
        """Runs the step as vLLM's own loop does. Returns its wall time in milliseconds."""
        start_s = time.monotonic()
        executed = self._executor.execute_model(output, non_block=True)
        model_output = self._executor.sample_tokens(None, non_block=True).result()
        wall_ms = (time.monotonic() - start_s) * 1e3
        if model_output is None:
            executed.result()
            raise ProfileError("the executor returned no output")
        self._scheduler.update_from_output(output, model_output)
        return wall_ms

    def _finish(self) -> None:
        """Takes the request out again, on the workers too."""
        from vllm.v1.request import RequestStatus

        self._scheduler.finish_requests(_REQUEST_ID, RequestStatus.FINISHED_ABORTED)
        output = self._scheduler.schedule()
        executed = self._executor.execute_model(output, non_block=True).result()
        if executed is not None:
            self._scheduler.update_from_output(output, executed)
