"""The step timer on a device's events: the same tests on a stand-in and on torch's own events."""

from __future__ import annotations

import inspect
import itertools
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from cpp_chunk.engine.gap import GapMeter
from cpp_chunk.worker.stopwatch import RING_STEPS, DeviceStopwatch
from cpp_chunk.worker.timer import StepTimer
from hypothesis import given
from hypothesis import strategies as st

from tests.python.fake_device import TORCH_DEVICE_TYPE, Device, FakeDevice, TorchBackend

if TYPE_CHECKING:
    from collections.abc import Callable

DAY_MS = 86_400_000.0


@pytest.fixture(scope="module")
def torch_backend(tmp_path_factory: pytest.TempPathFactory) -> TorchBackend:
    pytest.importorskip("torch")
    return TorchBackend(tmp_path_factory.mktemp("event_backend"))


@pytest.fixture(scope="module", params=["stand-in", "torch.Event"])
def make_device(request: pytest.FixtureRequest) -> Callable[[], Device]:
    if request.param == "stand-in":
        return FakeDevice
    backend: TorchBackend = request.getfixturevalue("torch_backend")
    return backend.fresh_device


@pytest.fixture
def device(make_device: Callable[[], Device]) -> Device:
    return make_device()


class Stage:
    """A stage's timer, and steps that wait for their input and compute as long as the test says."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.timer = StepTimer(DeviceStopwatch(TORCH_DEVICE_TYPE, device.make_event))
        self._timed = self.timer.wrap(self._execute_model)

    def step(self, number: int, compute_ms: float, waited_ms: float | None = None) -> None:
        self._timed(SimpleNamespace(cpp_chunk_step_id=number), compute_ms, waited_ms)

    def _execute_model(self, output: Any, compute_ms: float, waited_ms: float | None) -> None:
        if waited_ms is not None:
            self.device.launch(waited_ms)
            StepTimer.observe_wait(0.0)
        if compute_ms < 0:
            raise RuntimeError("the model's own")
        self.device.launch(compute_ms)

    def compute_ms(self, after: int = 0, *, wait: bool = False) -> dict[int, float]:
        return {step: ms for step, _, ms in self.timer.times_after(after, wait=wait)}


def test_events_keep_torchs_contract(device: Device) -> None:
    start, end = device.make_event(), device.make_event()
    assert start.query()  # never recorded
    start.synchronize()
    with pytest.raises(ValueError, match="must be recorded"):
        start.elapsed_time(end)
    start.record()
    assert start.query()  # nothing was launched before it
    device.launch(5.0)
    end.record()
    assert not end.query()
    with pytest.raises(RuntimeError, match="must be completed"):
        start.elapsed_time(end)
    device.complete(5.0)
    assert end.query()
    assert start.elapsed_time(end) == 5.0
    device.launch(2.0)
    end.record()  # moves it
    assert not end.query()
    end.synchronize()
    assert start.elapsed_time(end) == 7.0
    without_timing = device.make_event(enable_timing=False)
    without_timing.record()
    with pytest.raises(ValueError, match="enable_timing"):
        start.elapsed_time(without_timing)
    device.launch(20 * DAY_MS + 0.3)
    end.record()
    end.synchronize()
    # Single precision: after twenty days, to a tenth of a second.
    assert start.elapsed_time(end) % 128 == 0


def test_steps_are_read_later_and_never_synchronised(device: Device) -> None:
    stage = Stage(device)
    before = device.synchronisations
    stage.step(1, compute_ms=5.0, waited_ms=40.0)
    stage.step(2, compute_ms=7.0, waited_ms=40.0)
    assert stage.compute_ms() == {}
    device.complete(44.9)
    assert stage.compute_ms() == {}
    device.complete(45.0)
    assert stage.compute_ms() == {1: 5.0}
    device.complete(91.9)
    assert stage.compute_ms() == {1: 5.0}
    assert device.synchronisations == before
    device.complete(92.0)
    assert stage.compute_ms() == {1: 5.0, 2: 7.0}
    assert stage.compute_ms(after=1) == {2: 7.0}


def test_the_profile_waits_for_the_last_step_only(device: Device) -> None:
    stage = Stage(device)
    before = device.synchronisations
    assert stage.compute_ms(wait=True) == {}
    assert device.synchronisations == before
    for number in range(1, 6):
        stage.step(number, compute_ms=float(number))
    assert stage.compute_ms(wait=True) == {number: float(number) for number in range(1, 6)}
    assert device.synchronisations == before + 1


def test_a_first_stage_counts_from_its_beginning(device: Device) -> None:
    stage = Stage(device)
    stage.step(1, compute_ms=3.0)
    device.launch(11.0)  # sampling is a call of its own
    stage.step(2, compute_ms=4.0)
    assert stage.compute_ms(wait=True) == {1: 3.0, 2: 4.0}


def test_starts_are_on_the_hosts_clock_and_their_differences_on_the_devices(
    device: Device,
) -> None:
    stage = Stage(device)
    stage.step(1, compute_ms=8.0)
    device.launch(2.0)
    stage.step(2, compute_ms=5.0, waited_ms=30.0)
    (_, first_s, _), (_, second_s, _) = stage.timer.times_after(0, wait=True)
    assert second_s - first_s == pytest.approx(0.040, abs=1e-9)


@pytest.mark.parametrize("read_between", [False, True])
def test_gaps_are_as_exact_after_days_as_at_the_start(
    device: Device,
    read_between: bool,  # noqa: FBT001 - pytest's parameter
) -> None:
    stage = Stage(device)
    number = 0
    for idle_days in (0, 1, 30):
        device.launch(idle_days * DAY_MS)
        gaps = GapMeter()
        first = number + 1
        for _ in range(16):
            number += 1
            stage.step(number, compute_ms=97.3)
            device.launch(1.7)
            if read_between:
                stage.compute_ms(wait=True)
        times = [(start_s, ms) for _, start_s, ms in stage.timer.times_after(first - 1, wait=True)]
        for before, after in itertools.pairwise(times):
            assert after[0] - before[0] == pytest.approx(0.099, abs=1e-5)
            gaps.add(before, after)
        assert gaps.gap_ms == pytest.approx(1.7, abs=0.01)


def test_a_failing_step_leaves_the_next_one_right(device: Device) -> None:
    stage = Stage(device)
    stage.step(1, compute_ms=2.0)
    with pytest.raises(RuntimeError, match="the model's own"):
        stage.step(2, compute_ms=-1.0, waited_ms=13.0)
    device.launch(50.0)
    stage.step(3, compute_ms=4.0)
    with pytest.raises(RuntimeError, match="the model's own"):
        stage.step(4, compute_ms=-1.0)
    stage.step(5, compute_ms=6.0, waited_ms=1.0)
    assert stage.compute_ms(wait=True) == {1: 2.0, 3: 4.0, 5: 6.0}


def test_a_full_ring_drops_the_oldest_and_uses_its_events_again(device: Device) -> None:
    stage = Stage(device)
    for number in range(1, 3 * RING_STEPS + 1):
        stage.step(number, compute_ms=float(number))
    # Two of each step that is kept, of the one being timed, and the origin.
    assert device.events_made <= 2 * RING_STEPS + 3
    times = stage.compute_ms(wait=True)
    assert times == {n: float(n) for n in range(2 * RING_STEPS + 1, 3 * RING_STEPS + 1)}


def test_events_are_used_again(device: Device) -> None:
    stage = Stage(device)
    for number in range(1, 100):
        stage.step(number, compute_ms=1.0)
        assert stage.compute_ms(number - 1, wait=True) == {number: 1.0}
    assert device.events_made <= 5


def test_a_step_on_a_slower_stream_holds_back_those_behind_it_and_loses_none(
    device: Device,
) -> None:
    stage = Stage(device)
    device.use_stream(1)
    stage.step(1, compute_ms=9.0)
    device.use_stream(0)
    stage.step(2, compute_ms=3.0)
    assert stage.compute_ms(wait=True) == {}  # the last one has completed, the first has not
    device.use_stream(1)
    device.complete(9.0)
    assert stage.compute_ms() == {1: 9.0, 2: 3.0}


STEPS = st.lists(
    st.tuples(
        st.integers(0, 1000),  # eighths of a ms, which single precision holds exactly
        st.none() | st.integers(0, 1000),  # the wait for the input
        st.integers(0, 3000),  # how far the device comes before the next step
        st.booleans(),  # whether somebody reads
        st.integers(0, 9).map(lambda n: n == 0),  # whether the step fails
    ),
    max_size=30,
)


@given(steps=STEPS)
def test_whatever_is_read_when_no_measurement_is_mixed_up(
    make_device: Callable[[], Device], steps: list[tuple[int, int | None, int, bool, bool]]
) -> None:
    device = make_device()
    stage = Stage(device)
    expected: list[tuple[int, float, float]] = []
    read: list[tuple[int, float, float]] = []
    now, completed = 0, 0
    for number, (compute, waited, progress, reads, fails) in enumerate(steps, start=1):
        waited_ms = None if waited is None else waited / 8
        now += waited or 0
        if fails:
            with pytest.raises(RuntimeError, match="the model's own"):
                stage.step(number, compute_ms=-1.0, waited_ms=waited_ms)
        else:
            stage.step(number, compute_ms=compute / 8, waited_ms=waited_ms)
            expected.append((number, now / 8, compute / 8))
            now += compute
        completed = min(now, completed + progress)
        device.complete(completed / 8)
        if reads:
            read += stage.timer.times_after(read[-1][0] if read else 0, wait=False)
            assert len(read) == sum(start + ms <= completed / 8 for _, start, ms in expected)
    read += stage.timer.times_after(read[-1][0] if read else 0, wait=True)
    assert [(step, ms) for step, _, ms in read] == [(step, ms) for step, _, ms in expected]
    for (_, start_s, _), (_, start_ms, _) in zip(read, expected, strict=True):
        assert start_s - read[0][1] == pytest.approx((start_ms - expected[0][1]) / 1e3, abs=1e-6)


def test_the_devices_own_events_are_used(
    torch_backend: TorchBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    device = torch_backend.fresh_device()
    # vllm-ascend's model runner leaves torch.Event replaced so; it takes no device then.
    monkeypatch.setattr(torch, "Event", torch_backend.module.Event)  # type: ignore[attr-defined]
    stopwatch = DeviceStopwatch(TORCH_DEVICE_TYPE)
    stopwatch.begin()
    device.launch(6.0)
    stopwatch.end(1)
    assert [(step, ms) for step, _, ms in stopwatch.finished(wait=True)] == [(1, 6.0)]


@pytest.mark.parametrize("device_type", ["cuda", "xpu"])
def test_torchs_other_devices_make_events_in_the_same_way(device_type: str) -> None:
    torch = pytest.importorskip("torch")
    event_class = torch.get_device_module(device_type).Event
    assert "enable_timing" in inspect.signature(event_class.__new__).parameters
    for method in ("record", "query", "elapsed_time", "synchronize"):
        assert callable(getattr(event_class, method))
