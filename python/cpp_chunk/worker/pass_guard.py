"""Keeps the stages in step when one fails in a pass of the start-up profile.

A stage that raises sends nothing on, and the stages behind it would wait for it for ever. While
profiling, a stage whose pass fails hands on an empty buffer of the right shape instead, and the
engine asks afterwards who failed.
"""

from __future__ import annotations

import functools
from typing import Any

from cpp_chunk.log import init_logger

logger = init_logger(__name__)

_FAILURES = "_cpp_chunk_pass_failures"


def install(worker: Any) -> None:
    """Puts the guard around `execute_model` of this worker's model runner."""
    runner = worker.model_runner
    execute_model = runner.execute_model
    failures: list[str] = []
    setattr(runner, _FAILURES, (failures, execute_model))

    @functools.wraps(execute_model)
    def guarded(scheduler_output: Any, intermediate_tensors: Any = None, **kwargs: Any) -> Any:
        try:
            return execute_model(scheduler_output, intermediate_tensors, **kwargs)
        except Exception as error:
            logger.debug("a pass of the profile failed", exc_info=True)
            failures.append(f"{type(error).__name__}: {error}")
            return _hand_on(runner, scheduler_output, intermediate_tensors)

    runner.execute_model = guarded


def remove(worker: Any) -> list[str]:
    """Takes the guard off, if it is there.

    Returns:
        What failed while it was there, in this worker.
    """
    from vllm.distributed import get_pp_group

    runner = worker.model_runner
    if not hasattr(runner, _FAILURES):
        return []
    failures, execute_model = getattr(runner, _FAILURES)
    delattr(runner, _FAILURES)
    runner.execute_model = execute_model
    stage = get_pp_group().rank_in_group
    return [f"stage {stage}: {failure}" for failure in failures]


def _hand_on(runner: Any, scheduler_output: Any, intermediate_tensors: Any) -> Any:
    from vllm.distributed import get_pp_group

    # What the stage before has sent is taken, or it would meet the next pass.
    if hasattr(intermediate_tensors, "wait_for_comm"):
        intermediate_tensors.wait_for_comm()
    if get_pp_group().is_last_rank:
        return None
    return runner.model.make_empty_intermediate_tensors(
        batch_size=scheduler_output.total_num_scheduled_tokens,
        dtype=runner.model_config.dtype,
        device=runner.device,
    )
