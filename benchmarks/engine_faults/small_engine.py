"""A small engine for scripts: its core in this process, a profile of a second or two."""

from __future__ import annotations

import os
import random
from typing import Any

BUDGET_TOKENS = 1024
MAX_MODEL_LEN = 4096


class SmallEngine:
    def __init__(self, model: str, **changes: Any) -> None:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        from vllm import LLM

        arguments: dict[str, Any] = {
            "load_format": "auto",
            "dtype": "float32",
            "enforce_eager": True,
            "pipeline_parallel_size": 2,
            "max_model_len": MAX_MODEL_LEN,
            "max_num_batched_tokens": BUDGET_TOKENS,
            "max_num_seqs": 4,
            "enable_prefix_caching": True,
            "seed": 0,
            "additional_config": {"profiling_chunk_config": {"enabled": True}},
        } | changes
        self.llm = LLM(model, **arguments)
        self.core: Any = self.llm.llm_engine.engine_core.engine_core
        self.scheduler: Any = self.core.scheduler

    @property
    def free_blocks(self) -> int:
        num_blocks: int = self.scheduler.kv_cache_manager.block_pool.get_num_free_blocks()
        return num_blocks

    @property
    def target_ms(self) -> float | None:
        """None while chunks are fixed."""
        target_ms: float | None = self.scheduler._cpp_chunk_chooser.target_ms
        return target_ms

    def answer(self, *lengths: int, seed: int) -> list[list[int]]:
        """Greedy answers to made-up prompts, all given at once."""
        from vllm import SamplingParams

        rng = random.Random(seed)
        outputs = self.llm.generate(
            [{"prompt_token_ids": rng.choices(range(256), k=length)} for length in lengths],
            SamplingParams(max_tokens=12, temperature=0.0, ignore_eos=True),
            use_tqdm=False,
        )
        return [list(output.outputs[0].token_ids) for output in outputs]

    def shut_down(self) -> None:
        self.core.shutdown()
