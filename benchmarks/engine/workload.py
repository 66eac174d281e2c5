"""What is asked of one engine and what comes back: plain data, from process to process as JSON."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmarks.engine.tiny_model import NUM_PLAIN_TOKENS

Mode = Literal["fixed", "dynamic"]


@dataclass(frozen=True)
class EngineSettings:
    """One engine. Engines that are compared differ in mode, token budget or target only."""

    model: str
    mode: Mode
    max_num_batched_tokens: int
    target: str | float = "auto"
    load_format: str = "dummy"
    max_model_len: int = 32768
    max_num_seqs: int = 8
    # Of each stage; not more, so that several engines fit into one machine.
    kv_cache_memory_bytes: int = 512 << 20
    pipeline_parallel_size: int = 2
    enable_prefix_caching: bool = False
    async_scheduling: bool | None = None
    need_timing: bool = True
    extra_llm_arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Short and good for a file name."""
        return f"{self.mode}-{self.max_num_batched_tokens}"

    def profiling_chunk_config(self) -> dict[str, Any]:
        """The package's own settings.

        Fixed chunks are `smooth_factor` 0, not `enabled` false: the same timers run in both modes.
        """
        if self.mode == "fixed":
            return {"enabled": True, "smooth_factor": 0}
        config: dict[str, Any] = {"enabled": True, "target": self.target}
        return config if self.need_timing else config | {"need_timing": False}

    def llm_arguments(self) -> dict[str, Any]:
        """Arguments of `vllm.LLM`."""
        arguments: dict[str, Any] = {
            "model": self.model,
            "load_format": self.load_format,
            "dtype": "float32",
            "seed": 0,
            "enforce_eager": True,
            "pipeline_parallel_size": self.pipeline_parallel_size,
            "enable_chunked_prefill": True,
            "enable_prefix_caching": self.enable_prefix_caching,
            "max_num_batched_tokens": self.max_num_batched_tokens,
            "max_num_seqs": self.max_num_seqs,
            "max_model_len": self.max_model_len,
            "kv_cache_memory_bytes": self.kv_cache_memory_bytes,
            "additional_config": {"profiling_chunk_config": self.profiling_chunk_config()},
        }
        if self.async_scheduling is not None:
            arguments["async_scheduling"] = self.async_scheduling
        return arguments | self.extra_llm_arguments


@dataclass(frozen=True)
class Workload:
    """Prompts that are given to the engine at once, several times over.

    With one prompt and `max_tokens` 1 the wall time of a round is the time to first token.
    """

    name: str
    prompt_lengths: tuple[int, ...]
    repeats: int = 3
    warmups: int = 1
    max_tokens: int = 1
    seed: int = 0

    @property
    def num_prompt_tokens(self) -> int:
        """Prompt tokens of one round."""
        return sum(self.prompt_lengths)

    def prompts(self, round_index: int) -> list[list[int]]:
        """Seeded prompts: the same for every engine, different in each round and each place."""
        rng = random.Random(f"{self.name}/{self.seed}/{round_index}")  # noqa: S311
        return [rng.choices(range(NUM_PLAIN_TOKENS), k=length) for length in self.prompt_lengths]


@dataclass(frozen=True)
class Round:
    """One pass of a workload. Times are `time.monotonic()`, which all processes share."""

    start_s: float
    end_s: float
    token_ids: tuple[tuple[int, ...], ...]

    @property
    def wall_s(self) -> float:
        """From handing the prompts over to having the last token."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class WorkloadResult:
    """The timed rounds of a workload, without the warm-ups, and the trace written meanwhile."""

    name: str
    rounds: tuple[Round, ...]
    trace_lines: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "name": self.name,
            "rounds": [
                {
                    "start_s": r.start_s,
                    "end_s": r.end_s,
                    "token_ids": [list(t) for t in r.token_ids],
                }
                for r in self.rounds
            ],
            "trace_lines": list(self.trace_lines),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> WorkloadResult:
        """The reverse of `to_json`."""
        return cls(
            name=data["name"],
            rounds=tuple(
                Round(r["start_s"], r["end_s"], tuple(tuple(t) for t in r["token_ids"]))
                for r in data["rounds"]
            ),
            trace_lines=tuple(data["trace_lines"]),
        )
