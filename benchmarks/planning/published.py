"""What others have published and the planning figures are reckoned from.

Kimi-K2.5 on MI355X: ROCm/ATOM pull request 2007, its documents "Dynamic Chunked Pipeline
Parallelism" and guide. Ascend: vllm-ascend's feature guide "Dynamic Chunked Pipeline Parallel" and
its tutorial for DeepSeek-V3.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from cpp_chunk import LatencyModel

# One stage of Kimi-K2.5 (MXFP4) in four: t = 3.25e-7*(2hx + x^2) + 6.03e-3*x + 5.39e-4*h + 26.1.
KIMI = LatencyModel(quadratic=6.5e-7, cross=6.5e-7, linear=6.03e-3, context=5.39e-4, constant=26.1)
# What a step takes beyond that, and forward-only timers miss: with it the three sizes below agree.
KIMI_GAP_MS = 17.5
KIMI_STEP = KIMI.with_overhead(KIMI_GAP_MS)
KIMI_STAGES = 4
KIMI_PROMPT_TOKENS = 131_072
# Mean time to first token by fixed chunk, at concurrency 1.
KIMI_FIXED_TTFT_MS = {32_768: 14_896.0, 8_192: 10_121.0, 2_048: 12_286.0}


@dataclass(frozen=True)
class AscendRun:
    """One model on Ascend Atlas A3, two stages, concurrency 1: both of its times to first token."""

    model: str
    prompt_tokens: int
    # Of the static chunks, and whose time is the documented rule's target.
    base_chunk_tokens: int
    static_ttft_s: float
    dynamic_ttft_s: float


ASCEND_STAGES = 2
ASCEND_RUNS = (
    AscendRun("DeepSeek-V3.1-W8A8", 131_072, 32_768, 27.0, 22.5),
    AscendRun("Qwen3-235B", 262_144, 32_768, 61.4, 53.5),
)
