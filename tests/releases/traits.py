"""In what releases differ from one another at our seams, and what is done about it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cpp_chunk.compat.scheduler_shape import hook_calls
from cpp_chunk.compat.sources import calls

if TYPE_CHECKING:
    from collections.abc import Callable

    from cpp_chunk.compat.relied_on import SeamName
    from cpp_chunk.compat.sources import Function, Sources


@dataclass(frozen=True)
class Trait:
    """One difference.

    Attributes:
        seam: where.
        words: for a cell of the table.
        note: what it is, and the workaround.
        shows: whether these sources have it.
    """

    seam: SeamName
    words: str
    note: str
    shows: Callable[[Sources], bool]


def _method(sources: Sources, module: str, cls: str, name: str) -> Function | None:
    found = sources.find(module, cls)
    return sources.method(found, name) if found is not None else None


def _schedule(sources: Sources) -> Function | None:
    return _method(sources, "vllm.v1.core.sched.scheduler", "Scheduler", "schedule")


def _lacks_hash_block_size(sources: Sources) -> bool:
    scheduler = sources.find("vllm.v1.core.sched.scheduler", "Scheduler")
    return scheduler is not None and "hash_block_size" not in sources.attributes(scheduler)


def _has_fifth_argument(sources: Sources) -> bool:
    schedule = _schedule(sources)
    return schedule is not None and any(call.num_arguments == 5 for call in hook_calls(schedule))


def asks_for_loads(schedule: Function) -> bool:
    """Whether a `schedule` asks the hook also for requests whose KV is loaded asynchronously."""
    asked = hook_calls(schedule)
    is_waiting = [call for call in asked if call.num_arguments > 2]
    return bool(is_waiting) and not any(call.minds_loads for call in is_waiting)


def _has_encoder_first(sources: Sources) -> bool:
    schedule = _schedule(sources)
    asked = [call.line for call in hook_calls(schedule)] if schedule is not None else []
    encoder = [
        call.lineno
        for call in (calls(schedule) if schedule is not None else ())
        if ast.unparse(call.func) == "self._try_schedule_encoder_inputs"
    ]
    return bool(asked and encoder) and min(encoder) < min(asked)


def _has_older_ray(sources: Sources) -> bool:
    future = sources.find("vllm.v1.executor.ray_utils", "FutureWrapper")
    return future is not None and "ref_or_refs" in sources.attributes(future)


def _skips_eager_warm_up(sources: Sources) -> bool:
    module = "vllm.v1.worker.cpu_model_runner"
    warm_up = _method(sources, module, "CPUModelRunner", "warming_up_model")
    return warm_up is not None and any(isinstance(one, ast.Return) for one in ast.walk(warm_up))


def _awaits_tokens_in_a_step(sources: Sources) -> bool:
    module, cls = "vllm.v1.worker.gpu_model_runner", "GPUModelRunner"
    prepare = _method(sources, module, cls, "_prepare_input_ids")
    return prepare is not None and any(
        ast.unparse(call.func) == "self._pp_recv_work.wait" for call in calls(prepare)
    )


LOADS_NOTE = (
    "Its own `schedule()` asks the hook with 0 tokens for a request whose KV is loaded "
    "asynchronously, and takes the 0 in answer for no room. When that happens the mixin lets go of "
    "the hook (`engine/scheduler.py`): chunks are fixed from there on, with one line in the log, "
    "and the load is admitted in the next step."
)


def _asks_for_loads(sources: Sources) -> bool:
    schedule = _schedule(sources)
    return schedule is not None and asks_for_loads(schedule)


TRAITS = (
    Trait("scheduler", "asks for asynchronous loads", LOADS_NOTE, _asks_for_loads),
    Trait(
        "scheduler",
        "no hash_block_size",
        "The scheduler does not keep `hash_block_size`, which the hashes of a start-up pass's "
        "prompt are counted by: the KV cache's block pool has it in every release, and is asked "
        "(`engine/profile.py`).",
        _lacks_hash_block_size,
    ),
    Trait(
        "scheduler",
        "a fifth argument",
        "The WAITING call hands over one more number, used by the split of Mamba models: the mixin "
        "takes any that follow, and passes them on to the model's own split "
        "(`engine/scheduler.py`).",
        _has_fifth_argument,
    ),
    Trait(
        "scheduler",
        "encoder inputs first",
        "Encoder inputs (images) are scheduled before the hook is asked, so an encoder may run one "
        "step before the chunk that needs its output. vLLM keeps the output until then, as it does "
        "where the split of a Mamba model shortens a chunk: nothing needs to be done.",
        _has_encoder_first,
    ),
    Trait(
        "executor",
        "an older Ray executor",
        "Beside the one that is made of the multiprocess executor there is an older one, whose "
        "answers never say that they are there: Ray itself is asked (`engine/answers.py`).",
        _has_older_ray,
    ),
    Trait(
        "worker",
        "no warm-up of eager CPU workers",
        "On a CPU in eager mode the warm-up pass is left out, so that stages behind the first have "
        "no buffer for their first step, and vLLM stops at an assertion on `intermediate_tensors`: "
        "`worker/first_step.py` makes the buffer.",
        _skips_eager_warm_up,
    ),
    Trait(
        "worker",
        "V1 awaits tokens in a step",
        "With asynchronous scheduling the V1 model runner waits for the tokens that the last stage "
        "has sampled in `_prepare_input_ids`, within what is timed, and no longer where tokens are "
        "sampled: the clock starts behind it (`TOKENS_V1` in `places.py`), as with the V2 model "
        "runner in every release.",
        _awaits_tokens_in_a_step,
    ),
)
