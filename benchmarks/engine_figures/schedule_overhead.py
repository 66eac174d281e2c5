"""What the package adds to `schedule()`: vLLM's scheduler class against the one derived from it.

Both are real and run in this process, without an engine: the same prompt, cut into the same chunks,
so that all that differs is our asking, choosing and accounting. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import statistics
import subprocess
import sys
import time
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.engine.engine_process import cpu_engine_environment
from benchmarks.engine.workload import EngineSettings

if TYPE_CHECKING:
    from pathlib import Path

CHUNK_TOKENS = 512
PROMPT_TOKENS = 32768
NUM_ROUNDS = 21
# A model whose every term counts.
MODEL = {"quadratic": 5e-5, "cross": 5e-5, "linear": 0.05, "context": 0.002, "constant": 4.0}


@dataclass(frozen=True)
class ScheduleOverhead:
    """Time of one `schedule()` call in one long prefill, median over calls and rounds."""

    own_us: float
    dynamic_us: float
    # Median over rounds of the difference between neighbouring rounds: drift cancels.
    added_us: float
    num_steps: int


def measure_in_subprocess(model: Path) -> ScheduleOverhead:
    """Measure in a fresh process: vLLM is imported there and not in the caller."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "benchmarks.engine_figures.schedule_overhead", str(model)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env=cpu_engine_environment(num_stages=2),
    )
    if done.returncode:
        raise RuntimeError(f"Measuring schedule() failed:\n{done.stderr[-4000:]}")
    return ScheduleOverhead(**json.loads(done.stdout.splitlines()[-1]))


def measure(model: str) -> ScheduleOverhead:
    """Alternate whole prefills between the two schedulers."""
    own, dynamic = make_scheduler(model, dynamic=False), make_scheduler(model, dynamic=True)
    for scheduler in (own, dynamic):
        prefill_us(scheduler, "warm-up")
    own_us: list[float] = []
    dynamic_us: list[float] = []
    num_steps = 0
    for index in range(NUM_ROUNDS):
        own_steps_us = prefill_us(own, f"own-{index}")
        dynamic_steps_us = prefill_us(dynamic, f"dynamic-{index}")
        if dynamic._cpp_chunk_chooser is None or dynamic._cpp_chunk_feedback is None:  # noqa: SLF001
            raise RuntimeError("The derived scheduler fell back to fixed chunks: see its log.")
        if len(own_steps_us) != len(dynamic_steps_us):
            raise RuntimeError("The two schedulers cut the prompt differently: nothing to compare.")
        num_steps = len(own_steps_us)
        own_us.append(statistics.fmean(own_steps_us))
        dynamic_us.append(statistics.fmean(dynamic_steps_us))
    added_us = [after - before for before, after in zip(own_us, dynamic_us, strict=True)]
    return ScheduleOverhead(
        own_us=statistics.median(own_us),
        dynamic_us=statistics.median(dynamic_us),
        added_us=statistics.median(added_us),
        num_steps=num_steps,
    )


def make_scheduler(model: str, *, dynamic: bool) -> Any:
    """vLLM's scheduler, or ours derived from it with a model that is given and not measured."""
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
    from vllm.v1.structured_output import StructuredOutputManager

    settings = EngineSettings(model, "dynamic", CHUNK_TOKENS, max_model_len=2 * PROMPT_TOKENS)
    config = EngineArgs(**settings.llm_arguments()).create_engine_config()
    model_config, cache_config = config.model_config, config.cache_config
    num_blocks = 2 * PROMPT_TOKENS // cache_config.block_size
    cache_config.num_gpu_blocks = num_blocks
    layer = FullAttentionSpec(
        block_size=cache_config.block_size,
        num_kv_heads=model_config.get_num_kv_heads(config.parallel_config),
        head_size=model_config.get_head_size(),
        dtype=model_config.dtype,
    )
    return (derived_class(Scheduler) if dynamic else Scheduler)(
        vllm_config=config,
        kv_cache_config=KVCacheConfig(
            num_blocks=num_blocks,
            kv_cache_tensors=[],
            kv_cache_groups=[KVCacheGroupSpec(["layer"], layer)],
        ),
        structured_output_manager=StructuredOutputManager(config),
        block_size=cache_config.block_size,
        log_stats=False,
    )


class NoWorkers:
    """Stands for vLLM's executor: there are no workers, so no answer ever comes in."""

    def collective_rpc(self, method: Any, *, non_block: bool = False, **_: Any) -> Any:
        """An answer that is still under way, or that of a worker that knows nothing."""
        return Future() if non_block else ["no worker"]


def derived_class(base: type[Any]) -> type[Any]:
    """Our class over `base`, which starts as ever but for a profile that is given, not measured."""
    from cpp_chunk import LatencyModel
    from cpp_chunk.assembly import startup
    from cpp_chunk.assembly.context import EngineContext
    from cpp_chunk.engine.profile.found_profile import FoundProfile
    from cpp_chunk.engine.scheduler import derive
    from cpp_chunk.engine.stage_fits import StepSample, fit_stages
    from cpp_chunk.settings.config import ProfilingChunkConfig

    model = LatencyModel(**MODEL)
    samples: list[StepSample] = [
        ([(x, h)], [model.step_ms([(x, h)])] * 2)
        for x, h in itertools.product((128, 256, 512), (0, 4096, 16384))
    ]
    found = FoundProfile(samples=samples, fits=fit_stages(samples, 2), source="measured")
    vars(startup)["find_profile"] = lambda *_: found
    # Enough for a chunk at the cap also after the longest history: then both cut alike.
    target_ms = 2 * model.step_ms([(CHUNK_TOKENS, PROMPT_TOKENS)])
    config = ProfilingChunkConfig(enabled=True, target=target_ms)
    context = EngineContext(config, NoWorkers())
    return derive(base, config, functools.partial(startup.start, context=context))


def prefill_us(scheduler: Any, request_id: str) -> list[float]:
    """Schedule one prompt to its end; the microseconds of each `schedule()` call."""
    from vllm import SamplingParams
    from vllm.v1.outputs import ModelRunnerOutput
    from vllm.v1.request import Request

    sampling = SamplingParams(max_tokens=1, ignore_eos=True)
    request = Request(
        request_id=request_id,
        prompt_token_ids=[1] * PROMPT_TOKENS,
        sampling_params=sampling,
        pooling_params=None,
    )
    scheduler.add_request(request)
    steps_us = []
    while scheduler.requests:
        start_ns = time.perf_counter_ns()
        output = scheduler.schedule()
        steps_us.append((time.perf_counter_ns() - start_ns) / 1e3)
        is_last = request.num_computed_tokens >= PROMPT_TOKENS
        scheduler.update_from_output(
            output,
            ModelRunnerOutput(
                req_ids=[request_id],
                req_id_to_index={request_id: 0},
                sampled_token_ids=[[1] if is_last else []],
            ),
        )
    # Lets the scheduler drop what it remembers of the finished request.
    scheduler.schedule()
    return steps_us


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine_figures.schedule_overhead")
    parser.add_argument("model", help="folder of the tiny model")
    print(json.dumps(asdict(measure(parser.parse_args().model))))


if __name__ == "__main__":
    main()
