"""Faults in real workers: a `worker_extension_cls` that spoils `execute_model` on one stage.

`CPP_CHUNK_TEST_FAULT` says which, as KIND:STAGE:STEP[:FACTOR] or KIND:STAGE[:FACTOR]:

- `raise:0:3`: stage 0 raises in its third step.
- `raise-inside:0:3`: the same, in the model's forward pass.
- `nan:1:2`: after stage 1's second step, the clock that a timer reads is not a number.
- `hang:0:4`: stage 0 sleeps for `CPP_CHUNK_TEST_HANG_S` seconds before its fourth step.
- `slow-step:1:2:30`: stage 1's second step takes 30 times as long.
- `unreadable:0`: after stage 0's first step with the switch on, reading its timer raises once.
- `slow:0:1.5`: stage 0's steps take 1.5 times as long while the switch is on; `slow:all:1.5`: every
  stage's.

The switch is the file that `CPP_CHUNK_TEST_SWITCH` names: it is on while that is there. Only steps
with tokens in them count. The class of the model runner is wrapped when a worker process imports
this module, so our timer, which wraps the instance, times the fault as well.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm import distributed
from vllm.distributed import get_pp_group
from vllm.v1.worker.gpu_model_runner import GPUModelRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    # Stands around one step; is given the runner and what the stage before sends.
    Fault = Callable[[Any, Any], AbstractContextManager[None]]

FAULT_VARIABLE = "CPP_CHUNK_TEST_FAULT"
HANG_VARIABLE = "CPP_CHUNK_TEST_HANG_S"
SWITCH_VARIABLE = "CPP_CHUNK_TEST_SWITCH"


class FaultyWorker:
    """Adds nothing to the worker: to import this module is enough."""


def _fail(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("a fault put in by the test")


@contextlib.contextmanager
def _raise(runner: Any, received: Any) -> Iterator[None]:
    _fail()
    yield


@contextlib.contextmanager
def _raise_inside(runner: Any, received: Any) -> Iterator[None]:
    runner.model.forward = _fail
    try:
        yield
    finally:
        del runner.model.forward


@contextlib.contextmanager
def _break_clock(runner: Any, received: Any) -> Iterator[None]:
    """The next time that this thread reads the clock, it is not a number."""
    yield
    monotonic, thread = time.monotonic, threading.get_ident()

    def broken() -> float:
        # Other threads look at the clock too, and would never get over it.
        if threading.get_ident() != thread:
            return monotonic()
        time.monotonic = monotonic
        return math.nan

    time.monotonic = broken


@contextlib.contextmanager
def _break_reading(runner: Any, received: Any) -> Iterator[None]:
    """The next time that our code asks which stage this is, to answer the engine, it raises."""
    yield

    def broken() -> Any:
        if sys._getframe(1).f_globals["__name__"] == "cpp_chunk.worker.timer":
            distributed.get_pp_group = get_pp_group
            _fail()
        return get_pp_group()

    distributed.get_pp_group = broken


@contextlib.contextmanager
def _hang(runner: Any, received: Any) -> Iterator[None]:
    time.sleep(float(os.environ[HANG_VARIABLE]))
    yield


@contextlib.contextmanager
def _stretch(factor: float, runner: Any, received: Any) -> Iterator[None]:
    # The wait for the stage before is no work of this one.
    if hasattr(received, "wait_for_comm"):
        received.wait_for_comm()
    begun_s = time.monotonic()
    yield
    time.sleep((factor - 1) * (time.monotonic() - begun_s))


def _while_switched_on(fault: Fault) -> Fault:
    switch = Path(os.environ[SWITCH_VARIABLE])

    def while_switched_on(runner: Any, received: Any) -> AbstractContextManager[None]:
        return fault(runner, received) if switch.exists() else contextlib.nullcontext()

    return while_switched_on


def _in_one_step(number: int, fault: Fault) -> Fault:
    steps = itertools.count(1)

    def in_one_step(runner: Any, received: Any) -> AbstractContextManager[None]:
        return fault(runner, received) if next(steps) == number else contextlib.nullcontext()

    return in_one_step


def _parse(kind: str, *arguments: str) -> Fault:
    if kind == "slow":
        (factor,) = arguments
        return _while_switched_on(functools.partial(_stretch, float(factor)))
    if kind == "unreadable":
        return _while_switched_on(_in_one_step(1, _break_reading))
    number, *factors = arguments
    faults: dict[str, Fault] = {
        "raise": _raise,
        "raise-inside": _raise_inside,
        "nan": _break_clock,
        "hang": _hang,
        "slow-step": functools.partial(_stretch, *map(float, factors)),
    }
    return _in_one_step(int(number), faults[kind])


def _install(description: str) -> None:
    kind, stage, *arguments = description.split(":")
    fault = _parse(kind, *arguments)
    execute_model = GPUModelRunner.execute_model

    @functools.wraps(execute_model)
    def spoiled(runner: Any, scheduler_output: Any, received: Any = None) -> Any:
        is_here = stage in ("all", str(get_pp_group().rank_in_group))
        if not is_here or not scheduler_output.total_num_scheduled_tokens:
            return execute_model(runner, scheduler_output, received)
        with fault(runner, received):
            return execute_model(runner, scheduler_output, received)

    GPUModelRunner.execute_model = spoiled


if description := os.environ.get(FAULT_VARIABLE):
    _install(description)
