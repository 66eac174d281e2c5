"""Devices whose clock the test moves: a stand-in for torch's events, and torch's own events."""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

# torch's name of the backend that it leaves to others; torch_npu is one of them.
TORCH_DEVICE_TYPE = "privateuseone"


class Device(Protocol):
    """Streams of kernels that take as long as the test says."""

    @property
    def synchronisations(self) -> int:
        """How often the host has waited."""

    @property
    def events_made(self) -> int:
        """How many events there have been."""

    def make_event(self, *, enable_timing: bool = True) -> Any:
        """An event as this device's module of torch makes them."""

    def use_stream(self, stream: int) -> None:
        """Launches and records go to this stream from now on; 0 or 1."""

    def launch(self, ms: float) -> None:
        """Puts a kernel of this length on the stream."""

    def complete(self, until_ms: float) -> None:
        """The stream has come so far."""


@dataclass
class FakeStream:
    """One queue: up to where kernels were launched, and up to where they have run."""

    launched_ms: float = 0.0
    completed_ms: float = 0.0


@dataclass
class FakeDevice:
    """The stand-in. Its events are as strict as torch's; the same tests run on both."""

    synchronisations: int = 0
    events_made: int = 0
    streams: list[FakeStream] = field(default_factory=lambda: [FakeStream(), FakeStream()])
    stream: int = 0

    def make_event(self, *, enable_timing: bool = True) -> FakeEvent:
        self.events_made += 1
        return FakeEvent(self, enable_timing=enable_timing)

    def use_stream(self, stream: int) -> None:
        self.stream = stream

    def launch(self, ms: float) -> None:
        self.streams[self.stream].launched_ms += ms

    def complete(self, until_ms: float) -> None:
        stream = self.streams[self.stream]
        stream.completed_ms = max(stream.completed_ms, until_ms)


class FakeEvent:
    """torch.Event as `c10/core/impl/InlineEvent.h` and CUDA's and Ascend's runtimes have it."""

    def __init__(self, device: FakeDevice, *, enable_timing: bool) -> None:
        self._device = device
        self._enable_timing = enable_timing
        # Where and when, once recorded.
        self._recorded: tuple[FakeStream, float] | None = None

    def record(self) -> None:
        stream = self._device.streams[self._device.stream]
        self._recorded = stream, stream.launched_ms

    def query(self) -> bool:
        if self._recorded is None:
            return True
        stream, at_ms = self._recorded
        return at_ms <= stream.completed_ms

    def synchronize(self) -> None:
        if self._recorded is None:
            return
        stream, at_ms = self._recorded
        self._device.synchronisations += 1
        stream.completed_ms = max(stream.completed_ms, at_ms)

    def elapsed_time(self, end: FakeEvent) -> float:
        if not (self._enable_timing and end._enable_timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self._recorded is None or end._recorded is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        if not (self.query() and end.query()):
            raise RuntimeError("Both events must be completed before calculating elapsed time.")
        # cuEventElapsedTime and aclrtEventElapsedTime write a float.
        return ctypes.c_float(end._recorded[1] - self._recorded[1]).value


# A backend of torch's with nothing but streams and events. Only C++ can give torch the functions
# that torch.Event calls: of a device guard made in Python it asks the type alone.
_BACKEND = r"""
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <algorithm>
#include <array>

namespace {

struct Queue { double launched_ms = 0, completed_ms = 0; };
struct Recorded { Queue* queue = nullptr; double at_ms = 0; };

std::array<Queue, 2> queues;
int current = 0;
int num_synchronisations = 0;

Recorded& recorded(void* event) { return *static_cast<Recorded*>(event); }

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::DeviceType::PrivateUse1; }
  c10::Device getDevice() const override { return c10::Device(type(), 0); }
  c10::Device exchangeDevice(c10::Device) const override { return getDevice(); }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  c10::Stream getStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::UNSAFE, device, current);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }

  void record(void** event, const c10::Stream& stream, c10::DeviceIndex,
              c10::EventFlag) const override {
    if (*event == nullptr) *event = new Recorded;
    Queue& queue = queues.at(static_cast<std::size_t>(stream.id()));
    recorded(*event) = {&queue, queue.launched_ms};
  }
  bool queryEvent(void* event) const override {
    return recorded(event).at_ms <= recorded(event).queue->completed_ms;
  }
  void synchronizeEvent(void* event) const override {
    ++num_synchronisations;
    Queue& queue = *recorded(event).queue;
    queue.completed_ms = std::max(queue.completed_ms, recorded(event).at_ms);
  }
  double elapsedTime(void* start, void* end, c10::DeviceIndex) const override {
    return static_cast<float>(recorded(end).at_ms - recorded(start).at_ms);
  }
  void destroyEvent(void* event, c10::DeviceIndex) const noexcept override {
    delete static_cast<Recorded*>(event);
  }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

}  // namespace

extern "C" {
void reset() { queues = {}; current = num_synchronisations = 0; }
void use_stream(int stream) { current = stream; }
void launch(double ms) { queues.at(current).launched_ms += ms; }
void complete(double until_ms) {
  queues.at(current).completed_ms = std::max(queues.at(current).completed_ms, until_ms);
}
int synchronisations() { return num_synchronisations; }
}
"""


class TorchBackend:
    """torch with a backend of ours in this process, from where it cannot be taken out again.

    Args:
        folder: where it is compiled.
    """

    def __init__(self, folder: Path) -> None:
        import torch
        from torch.utils.cpp_extension import include_paths, library_paths

        source, shared = folder / "event_backend.cpp", folder / "event_backend.so"
        source.write_text(_BACKEND)
        subprocess.run(
            [
                *shlex.split(os.environ.get("CXX", "c++")),
                *("-std=c++20", "-fPIC", "-shared", str(source), "-o", str(shared)),
                *(f"-I{path}" for path in include_paths()),
                *(f"-L{path}" for path in library_paths()),
                "-lc10",
            ],
            check=True,
        )
        self.library = ctypes.CDLL(str(shared))
        for name in ("launch", "complete"):
            getattr(self.library, name).argtypes = [ctypes.c_double]
        self.events_made = 0
        torch_event = torch.Event

        def event(enable_timing: bool = False) -> Any:  # noqa: FBT001, FBT002
            """Asked for as torch.cuda.Event and torch.npu.Event are: they take no device."""
            self.events_made += 1
            return torch_event(device=TORCH_DEVICE_TYPE, enable_timing=enable_timing)

        self.module = ModuleType(TORCH_DEVICE_TYPE)
        self.module.Event = event  # type: ignore[attr-defined]
        torch._register_device_module(TORCH_DEVICE_TYPE, self.module)

    def fresh_device(self) -> TorchDevice:
        """The backend's device, with nothing on its streams."""
        self.library.reset()
        self.events_made = 0
        return TorchDevice(self)


@dataclass
class TorchDevice:
    """Real torch events on it."""

    backend: TorchBackend

    @property
    def synchronisations(self) -> int:
        number: int = self.backend.library.synchronisations()
        return number

    @property
    def events_made(self) -> int:
        return self.backend.events_made

    def make_event(self, *, enable_timing: bool = True) -> Any:
        return self.backend.module.Event(enable_timing=enable_timing)  # type: ignore[attr-defined]

    def use_stream(self, stream: int) -> None:
        self.backend.library.use_stream(stream)

    def launch(self, ms: float) -> None:
        self.backend.library.launch(ms)

    def complete(self, until_ms: float) -> None:
        self.backend.library.complete(until_ms)
