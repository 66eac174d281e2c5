"""Chunk arithmetic of NPU deployments: KV blocks of 128 tokens, flashcomm over TP 8, MLA."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from cpp_chunk.engine.planner import ServingPlanner
from cpp_chunk.engine.profile.passes import profile_space, take_profile
from cpp_chunk.engine.profile.profiler import ProfilePass
from cpp_chunk.settings.config import parse_config
from cpp_chunk.settings.model_shape import alignment_tokens, preferred_multiples
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planning.published import ASCEND_RUNS, ASCEND_STAGES, KIMI_STEP
from benchmarks.planning.two_work_terms import fitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cpp_chunk import LatencyModel

BLOCK = 128
TP = 8
MIN_CHUNK = 4096
# Recommended for prompts of 64k and of 128k tokens.
BUDGETS = (20_480, 32_768)
PROMPTS = (65_536, 131_072, 131_071)
# Prefix hits, in blocks.
HITS = (0, 1, 3, 77, 255)
DEEPSEEK, QWEN = (fitted(run, KIMI_STEP.constant).model for run in ASCEND_RUNS)


def vllm_config(**changes: Any) -> Any:
    """What `preferred_multiples` reads, of a mixture of experts on TP 8."""
    values: dict[str, Any] = {
        "flashcomm": True,
        "is_moe": True,
        "tensor_parallel": TP,
        "prefill_ranks": 1,
        "decode_ranks": 1,
    } | changes
    return SimpleNamespace(
        additional_config={"enable_flashcomm1": values["flashcomm"]},
        model_config=SimpleNamespace(is_moe=values["is_moe"]),
        parallel_config=SimpleNamespace(
            pipeline_parallel_size=ASCEND_STAGES,
            tensor_parallel_size=values["tensor_parallel"],
            prefill_context_parallel_size=values["prefill_ranks"],
            decode_context_parallel_size=values["decode_ranks"],
        ),
        compilation_config=SimpleNamespace(pass_config=SimpleNamespace(enable_sp=False)),
        cache_config=SimpleNamespace(
            block_size=BLOCK,
            enable_prefix_caching=True,
            prefix_match_unit=None,
            mamba_cache_mode="none",
        ),
        kv_transfer_config=None,
    )


def planner(
    budget: int,
    model: LatencyModel = DEEPSEEK,
    *,
    alignment: int = BLOCK,
    multiples: Sequence[int] | None = None,
    **config: Any,
) -> ServingPlanner:
    made = ServingPlanner(
        parse_config({"enabled": True} | config),
        max_chunk_tokens=budget,
        alignment_tokens=alignment,
        preferred_multiples=preferred_multiples(vllm_config()) if multiples is None else multiples,
        smallest_profiled_tokens=profile_space(budget, 262_144, alignment)[1],
    )
    made.set_models([model] * ASCEND_STAGES, 0.0)
    return made


# (num_tokens, num_computed_tokens, tokens of the prompt)
ServedChunk = tuple[int, int, int]


def serve(
    made: ServingPlanner, prompts: Sequence[tuple[int, int]], budget: int, num_decodes: int = 0
) -> list[list[ServedChunk]]:
    """The steps that prompts of (num_tokens, num_hit_tokens) are cut into, joining at once."""
    computed = [hit for _, hit in prompts]
    steps: list[list[ServedChunk]] = []
    # Prompts join while the decodes run already, as many in each step in flight.
    made.set_backlog(
        [(tokens - hit, hit) for tokens, hit in prompts],
        0,
        ASCEND_STAGES * num_decodes,
        ASCEND_STAGES * num_decodes * 8192,
    )
    while any(done < tokens for done, (tokens, _) in zip(computed, prompts, strict=True)):
        made.begin_step()
        made.add_decodes(num_decodes, num_decodes * 8192)
        left = budget - num_decodes
        step: list[ServedChunk] = []
        for index, (tokens, _) in enumerate(prompts):
            done = computed[index]
            remaining = tokens - done
            if not remaining or not left:
                continue
            chunk = made.chunk_tokens(remaining, done, min(left, remaining))
            if chunk:
                made.add_chunk(chunk, done)
                step.append((chunk, done, tokens))
                computed[index] += chunk
                left -= chunk
            else:
                break
        assert step, "a step in which no prompt moves on"
        steps.append(step)
        made.scheduled(len(steps), [(chunk, done) for chunk, done, _ in step])
        made.left(len(steps) - ASCEND_STAGES)
    return steps


def check_step(step: Sequence[ServedChunk], budget: int, alignment: int = BLOCK) -> None:
    assert sum(chunk for chunk, _, _ in step) <= budget
    for chunk, done, tokens in step:
        if done + chunk < tokens:
            assert (done + chunk) % alignment == 0
            # Flashcomm gives every rank as many tokens.
            assert chunk % TP == 0


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("prompt_tokens", PROMPTS)
@pytest.mark.parametrize("hit_blocks", HITS)
@pytest.mark.parametrize("config", [{}, {"min_chunk": MIN_CHUNK}, {"target": "base"}])
@pytest.mark.parametrize("model", [DEEPSEEK, QWEN])
def test_a_lone_prompt(
    budget: int,
    prompt_tokens: int,
    hit_blocks: int,
    config: dict[str, Any],
    model: LatencyModel,
) -> None:
    hit = BLOCK * hit_blocks
    made = planner(budget, model, **config)
    steps = serve(made, [(prompt_tokens, hit)], budget)
    for step in steps:
        check_step(step, budget)
    chunks = [chunk for [(chunk, _, _)] in steps]
    assert sum(chunks) == prompt_tokens - hit
    assert len(chunks) >= ASCEND_STAGES
    floor = MIN_CHUNK if config else BLOCK
    assert min(chunks[:-1]) >= floor
    # Equal times: no chunk is longer than the one before it, but for what rounding moves.
    for before, after in itertools.pairwise(chunks):
        assert after <= before + BLOCK
    # A tiny last chunk would cost the pipeline a whole round.
    assert chunks[-1] >= min(chunks[-2] / 2 - BLOCK, MIN_CHUNK)
    if prompt_tokens % BLOCK == 0:
        assert chunks[-1] % TP == 0


PROMPT = st.tuples(st.integers(1, 200_000), st.integers(0, 400)).map(
    # vLLM computes at least the last token of a prompt, so a hit ends before it.
    lambda drawn: (drawn[0], min(BLOCK * drawn[1], (drawn[0] - 1) // BLOCK * BLOCK))
)


@settings(deadline=None)
@given(
    prompts=st.lists(PROMPT, min_size=1, max_size=5),
    budget=st.sampled_from([2048, 8192, *BUDGETS]),
    num_decodes=st.integers(0, 300),
    min_chunk=st.none() | st.sampled_from([1024, MIN_CHUNK]),
)
def test_prompts_and_decodes_that_share_steps(
    prompts: list[tuple[int, int]], budget: int, num_decodes: int, min_chunk: int | None
) -> None:
    config = {} if min_chunk is None else {"min_chunk": min_chunk}
    made = planner(budget, **config)
    steps = serve(made, prompts, budget, num_decodes)
    for step in steps:
        check_step(step, budget - num_decodes)
        first, done, tokens = step[0]
        if min_chunk is not None and not num_decodes and done + first < tokens:
            assert first >= min(min_chunk, budget)
    assert sum(chunk for step in steps for chunk, _, _ in step) == sum(
        tokens - hit for tokens, hit in prompts
    )


@settings(deadline=None)
@given(
    prompt_tokens=st.integers(40_000, 200_000),
    budget=st.sampled_from(BUDGETS),
    prefill_ranks=st.sampled_from([1, 2, 4]),
    decode_ranks=st.sampled_from([1, 2, 8]),
)
def test_context_parallel_ranks_share_blocks(
    prompt_tokens: int, budget: int, prefill_ranks: int, decode_ranks: int
) -> None:
    pytest.importorskip("vllm")
    config = vllm_config(prefill_ranks=prefill_ranks, decode_ranks=decode_ranks)
    alignment = alignment_tokens(scheduler(config, mla_spec()))
    assert alignment == BLOCK * decode_ranks
    made = planner(budget, alignment=alignment, multiples=preferred_multiples(config))
    for step in serve(made, [(prompt_tokens, 0)], budget):
        check_step(step, budget, alignment)
        for chunk, done, tokens in step:
            if done + chunk < tokens:
                # Each rank takes one piece from the front and one from the back.
                assert chunk % (2 * prefill_ranks) == 0


@pytest.mark.parametrize(
    ("changes", "environment", "multiples"),
    [
        ({"flashcomm": True}, "0", [TP, 128]),
        ({"flashcomm": False}, "1", [128]),  # what is configured goes before the environment
        ({"flashcomm": True, "tensor_parallel": 1, "is_moe": False}, "0", []),
        ({"flashcomm": True, "is_moe": False, "prefill_ranks": 2}, "0", [TP, 4]),
    ],
)
def test_flashcomm_makes_tensor_parallel_ranks_a_multiple(
    changes: dict[str, Any],
    environment: str,
    multiples: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VLLM_ASCEND_ENABLE_FLASHCOMM1", environment)
    assert preferred_multiples(vllm_config(**changes)) == multiples


@pytest.mark.parametrize(("environment", "multiples"), [(None, []), ("0", []), ("1", [TP])])
def test_flashcomm_may_be_set_in_the_environment(
    environment: str | None, multiples: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VLLM_ASCEND_ENABLE_FLASHCOMM1", raising=False)
    if environment is not None:
        monkeypatch.setenv("VLLM_ASCEND_ENABLE_FLASHCOMM1", environment)
    config = vllm_config(is_moe=False)
    config.additional_config = {}
    assert preferred_multiples(config) == multiples


@pytest.mark.parametrize("tensor_parallel", [TP, 12, 16])
@pytest.mark.parametrize("block_size", [16, 64, BLOCK])
def test_flashcomm_with_finer_blocks(tensor_parallel: int, block_size: int) -> None:
    """Where a block is no multiple of the ranks, chunks that are large beside both are one."""
    multiples = preferred_multiples(vllm_config(tensor_parallel=tensor_parallel, is_moe=False))
    made = planner(BUDGETS[1], alignment=block_size, multiples=multiples, min_chunk=MIN_CHUNK)
    [*chunks, last] = [chunk for [(chunk, _, _)] in serve(made, [(PROMPTS[1], 0)], BUDGETS[1])]
    large = 16 * math.lcm(tensor_parallel, block_size)
    assert chunks[0] >= large
    assert all(chunk % tensor_parallel == 0 for chunk in chunks if chunk >= large)
    assert last == PROMPTS[1] - sum(chunks)


def mla_spec(block_size: int = BLOCK) -> Any:
    """What an MLA layer of DeepSeek's keeps: one latent vector a token."""
    torch = pytest.importorskip("torch")
    interface = pytest.importorskip("vllm.v1.kv_cache_interface")
    return interface.MLAAttentionSpec(
        block_size=block_size, num_kv_heads=1, head_size=576, dtype=torch.bfloat16
    )


def window_spec(block_size: int, window_tokens: int) -> Any:
    torch = pytest.importorskip("torch")
    interface = pytest.importorskip("vllm.v1.kv_cache_interface")
    return interface.SlidingWindowMLASpec(
        block_size=block_size,
        num_kv_heads=1,
        head_size=576,
        dtype=torch.bfloat16,
        sliding_window=window_tokens,
    )


def scheduler(config: Any, *specs: Any) -> Any:
    """A scheduler's block size as vLLM itself resolves it for these layers."""
    interface = pytest.importorskip("vllm.v1.kv_cache_interface")
    utilities = pytest.importorskip("vllm.v1.core.kv_cache_utils")
    groups = [
        interface.KVCacheGroupSpec([f"layer.{index}"], spec) for index, spec in enumerate(specs)
    ]
    kv_cache_config = interface.KVCacheConfig(
        num_blocks=1024, kv_cache_tensors=[], kv_cache_groups=groups
    )
    block_size, _ = utilities.resolve_kv_cache_block_sizes(kv_cache_config, config)
    return SimpleNamespace(
        block_size=block_size,
        max_num_scheduled_tokens=32_768,
        vllm_config=config,
        parallel_config=config.parallel_config,
        kv_cache_config=kv_cache_config,
    )


def test_mla_aligns_to_its_block() -> None:
    assert alignment_tokens(scheduler(vllm_config(), mla_spec())) == BLOCK


@pytest.mark.parametrize(
    ("window_block", "alignment"), [(BLOCK, BLOCK), (64, BLOCK), (256, 256), (96, 384)]
)
def test_mla_beside_windows_aligns_to_the_blocks_of_both(window_block: int, alignment: int) -> None:
    both = scheduler(vllm_config(), mla_spec(), window_spec(window_block, 4096))
    assert alignment_tokens(both) == alignment
    made = planner(BUDGETS[1], alignment=alignment, min_chunk=MIN_CHUNK)
    for step in serve(made, [(PROMPTS[2], 0)], BUDGETS[1]):
        check_step(step, BUDGETS[1], alignment)


class Device:
    """Stands for the profiler: a device of the published model."""

    def __init__(self) -> None:
        self.passes: list[tuple[int, int]] = []

    @property
    def num_passes(self) -> int:
        return len(self.passes)

    def run(self, passes: Sequence[tuple[int, int]]) -> list[ProfilePass]:
        self.passes += passes
        return [ProfilePass(x, h, ((0.0, DEEPSEEK.step_ms([(x, h)])),) * 2) for x, h in passes]


@pytest.mark.parametrize("budget", [4096, *BUDGETS])
# Two tokens of every pass are left over, so contexts are no multiples.
@pytest.mark.parametrize("context_tokens", [65_536 - 2, 131_072 - 2])
def test_profile_passes_are_chunks_that_could_be_served(budget: int, context_tokens: int) -> None:
    space, smallest = profile_space(budget, context_tokens, BLOCK)
    assert smallest % BLOCK == 0
    device = Device()
    take_profile(device, space)  # type: ignore[arg-type]
    for num_tokens, history in device.passes:
        assert smallest <= num_tokens <= budget
        assert num_tokens + history <= context_tokens
        assert num_tokens % BLOCK == 0
        assert num_tokens % TP == 0
        assert history % BLOCK == 0
