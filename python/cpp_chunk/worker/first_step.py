"""The buffer without which vLLM's CPU worker asserts on its first eager step.

With PP > 1 and eager mode the CPU backend skips the warm-up run that makes
`model_runner.intermediate_tensors` on the later stages (vLLM 0.27.0 and newer). Can go when the
CPU worker makes it itself.
"""

from __future__ import annotations

from typing import Any


def prepare(worker: Any) -> None:
    """Makes the buffer if this worker is on a later stage and has none. Runs in the worker."""
    from vllm.distributed import get_pp_group

    runner = worker.model_runner
    if runner.device.type != "cpu":
        return
    if get_pp_group().is_first_rank or getattr(runner, "intermediate_tensors", True) is not None:
        return
    runner.intermediate_tensors = runner.model.make_empty_intermediate_tensors(
        batch_size=runner.max_num_tokens, dtype=runner.model_config.dtype, device=runner.device
    )
