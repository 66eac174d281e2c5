"""A stage's waits for others are no compute: vLLM's own functions that wait, on a clock made here.

The same steps are timed by a device's events and by the host's clock, and neither runs on its own.
"""

# ruff: noqa: E402 - vLLM is imported once it is known to be there
from __future__ import annotations

import importlib
import time
from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from cpp_chunk.patching.places import LAZY_RECEIVE, TOKENS_V1, TOKENS_V2
from cpp_chunk.worker import waits
from cpp_chunk.worker.stopwatch import DeviceStopwatch, HostStopwatch
from cpp_chunk.worker.timer import StepTimer

from tests.python.fake_device import FakeDevice

if TYPE_CHECKING:
    from collections.abc import Callable

for name in ("gpu_worker", "gpu_model_runner", "gpu.pp_utils"):
    pytest.importorskip(f"vllm.v1.worker.{name}")
import torch
from vllm.v1.worker.gpu.pp_utils import PPHandler
from vllm.v1.worker.gpu_model_runner import GPUModelRunner
from vllm.v1.worker.gpu_worker import AsyncIntermediateTensors

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("ignore")]

TOKENS_MS, INPUT_MS, PREPARATION_MS, FORWARD_MS = 40.0, 30.0, 2.0, 5.0


@dataclass
class Clock:
    """A device whose host is never ahead of it, so that both have the same time."""

    device: FakeDevice = field(default_factory=FakeDevice)

    def take(self, ms: float) -> None:
        self.device.launch(ms)
        self.device.complete(self.now_ms)

    @property
    def now_ms(self) -> float:
        return self.device.streams[0].launched_ms

    def waiting(self, ms: float) -> Callable[..., None]:
        return lambda *_: self.take(ms)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for seam in (LAZY_RECEIVE, TOKENS_V2, TOKENS_V1):
        owner = getattr(importlib.import_module(seam.module), seam.cls)
        # Other tests get vLLM's own function back.
        monkeypatch.setattr(owner, seam.attribute, getattr(owner, seam.attribute))
    waits.observe(StepTimer.observe_wait)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now_ms / 1e3)
    return clock


def timed(clock: Clock, execute_model: Callable[[], None]) -> dict[str, float]:
    """What a step takes by either stopwatch."""
    compute_ms = {}
    for name, stopwatch in (
        ("device", DeviceStopwatch("cuda", clock.device.make_event)),
        ("host", HostStopwatch()),
    ):
        timer = StepTimer(stopwatch)
        timer.wrap(lambda _: execute_model())(SimpleNamespace(cpp_chunk_step_id=1))
        [(_, _, compute_ms[name])] = timer.times_after(0, wait=False)
    return compute_ms


def handler_of_sampled_tokens(clock: Clock, *, has_tokens: bool) -> Any:
    """The V2 runner's, with tokens of an earlier step still to come, or none."""
    handler: Any = object.__new__(PPHandler)
    handler.main_stream = SimpleNamespace(wait_event=clock.waiting(TOKENS_MS))
    handler.req_idx_gen_np = np.zeros(1, dtype=np.int32)
    slot = SimpleNamespace(
        event=None,
        need_sampled_mask=np.ones(1, dtype=bool),
        idx_mapping_np=np.zeros(1, dtype=np.int32),
        gen_at_receive_np=np.zeros(1, dtype=np.int32),
        **dict.fromkeys(
            ("idx_mapping", "sampled_tokens", "num_sampled", "num_rejected", "draft_tokens")
        ),
    )
    handler.queue = deque([slot if has_tokens else None])
    return handler


@pytest.mark.parametrize("has_tokens", [False, True])
@pytest.mark.parametrize("receives", [False, True])
def test_the_v2_runners_waits(
    clock: Clock,
    receives: bool,  # noqa: FBT001 - pytest's parameter
    has_tokens: bool,  # noqa: FBT001
) -> None:
    def execute_model() -> None:
        outputs = handler_of_sampled_tokens(clock, has_tokens=has_tokens).get_prev_sampled_outputs()
        assert (outputs is not None) is has_tokens
        clock.take(PREPARATION_MS)
        if receives:
            handle = SimpleNamespace(wait=clock.waiting(INPUT_MS))
            received = AsyncIntermediateTensors(
                {"hidden": torch.zeros(1)}, comm_handles=[handle], comm_postprocess=[]
            )
            assert received.tensors
            assert received.tensors  # it waits once
        clock.take(FORWARD_MS)

    compute_ms = timed(clock, execute_model)
    assert clock.now_ms == 2 * (
        TOKENS_MS * has_tokens + PREPARATION_MS + INPUT_MS * receives + FORWARD_MS
    )
    # What a device prepares before its input is there overlaps the wait for it.
    assert compute_ms["device"] == pytest.approx(
        FORWARD_MS if receives else PREPARATION_MS + FORWARD_MS
    )
    assert compute_ms["host"] == pytest.approx(PREPARATION_MS + FORWARD_MS)


@pytest.mark.parametrize("has_tokens", [False, True])
def test_the_v1_runners_wait_for_sampled_tokens(
    clock: Clock,
    has_tokens: bool,  # noqa: FBT001 - pytest's parameter
) -> None:
    runner: Any = object.__new__(GPUModelRunner)
    runner.input_batch = SimpleNamespace(prev_sampled_token_ids=None)
    runner.input_ids = SimpleNamespace(copy_to_gpu=lambda num_tokens: None)
    runner.enable_prompt_embeds = False

    def execute_model() -> None:
        receive = SimpleNamespace(wait=clock.waiting(TOKENS_MS))
        runner._pp_recv_work = receive if has_tokens else None
        clock.take(PREPARATION_MS)
        runner._prepare_input_ids(None, 1, 1, None)
        assert runner._pp_recv_work is None
        clock.take(FORWARD_MS)

    compute_ms = timed(clock, execute_model)
    assert clock.now_ms == 2 * (PREPARATION_MS + TOKENS_MS * has_tokens + FORWARD_MS)
    assert compute_ms["device"] == pytest.approx(
        FORWARD_MS if has_tokens else PREPARATION_MS + FORWARD_MS
    )
    assert compute_ms["host"] == pytest.approx(PREPARATION_MS + FORWARD_MS)
