"""Whether a stage's input preparation still overlaps the transfer while its steps are timed.

Two processes, a real transfer between them (torch.distributed, gloo), vLLM's own lazy receive and
our own timer. The stage before computes for a while and sends; the stage behind has posted its
receive, prepares its inputs meanwhile and computes once they are there. Timed wrongly, by waiting
at the beginning, preparation would come after the transfer.

`python -m benchmarks.calibration.lazy_receive` prints the times.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import statistics
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from benchmarks.calibration.figures import calibration_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from benchmarks.shared.figures import Figure

NUM_ROUNDS = 25
BEFORE_S = 0.06
PREPARE_S = 0.045
COMPUTE_S = 0.03
TENSOR_SHAPE = (512, 1024)
MODES = ("untimed", "timed", "forced")
MAX_TIMED = 1.02


def lazy_receive_figure(console: Console) -> Figure:
    """A step's time with the timer against without; beside it, what a forced wait would cost."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.calibration.lazy_receive"],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(f"Measuring the lazy receive failed:\n{done.stderr[-4000:]}")
    result: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    median_ms = {mode: statistics.median(result[mode]) for mode in MODES}
    timed = [a / b for a, b in zip(result["timed"], result["untimed"], strict=True)]
    console.print(f"  {median_ms}", highlight=False)
    return calibration_row(
        "step behind a lazy receive, timers on / off",
        statistics.median(timed),
        MAX_TIMED,
        {
            "timers off, ms": median_ms["untimed"],
            "timers on, ms": median_ms["timed"],
            "with a wait at its beginning, ms": median_ms["forced"],
            "its compute by the timer, ms": statistics.median(result["compute"]),
        },
    )


def main() -> None:
    """Both stages; prints the stage behind's times as JSON."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    context = multiprocessing.get_context("spawn")
    before = context.Process(target=run_stage_before, args=(address,))
    before.start()
    try:
        print(json.dumps(run_stage_behind(address)))
    finally:
        before.join(30)
        before.kill()


def run_stage_before(address: str) -> None:
    """Computes and sends, round by round."""
    import torch
    from torch import distributed

    distributed.init_process_group("gloo", init_method=address, rank=0, world_size=2)
    tensor = torch.zeros(TENSOR_SHAPE)
    for _ in range(NUM_ROUNDS * len(MODES)):
        distributed.barrier()
        time.sleep(BEFORE_S)
        distributed.isend(tensor, dst=1).wait()
    distributed.barrier()


def run_stage_behind(address: str) -> dict[str, list[float]]:
    """One step a round in each mode, in turns; times in ms from the round's beginning."""
    from torch import distributed

    distributed.init_process_group("gloo", init_method=address, rank=1, world_size=2)
    from cpp_chunk.worker import waits
    from cpp_chunk.worker.stopwatch import HostStopwatch
    from cpp_chunk.worker.timer import STEP_ID, StepTimer

    waits.observe(StepTimer.observe_wait)
    timer = StepTimer(HostStopwatch())
    steps: dict[str, Callable[..., None]] = {
        "untimed": execute_model,
        "timed": timer.wrap(execute_model),
        "forced": execute_after_wait,
    }
    walls_ms: dict[str, list[float]] = {mode: [] for mode in MODES}
    for number in range(NUM_ROUNDS * len(MODES)):
        mode = MODES[number % len(MODES)]
        output = SimpleNamespace(**{STEP_ID: number + 1})
        distributed.barrier()
        begun_s = time.monotonic()
        steps[mode](output, receive())
        walls_ms[mode].append((time.monotonic() - begun_s) * 1e3)
    distributed.barrier()
    compute_ms = [ms for _, _, ms in timer.times_after(0, wait=True)]
    return walls_ms | {"compute": compute_ms}


def receive() -> Any:
    """vLLM's lazy receive, posted."""
    import torch
    from torch import distributed
    from vllm.v1.worker.gpu_worker import AsyncIntermediateTensors

    tensor = torch.empty(TENSOR_SHAPE)
    handle = distributed.irecv(tensor, src=0)
    return AsyncIntermediateTensors({"hidden_states": tensor}, comm_handles=[handle])


def execute_model(output: Any, intermediate_tensors: Any) -> None:  # noqa: ARG001
    """A stage's step: prepares, takes its input, computes."""
    time.sleep(PREPARE_S)
    _ = intermediate_tensors.tensors
    time.sleep(COMPUTE_S)


def execute_after_wait(output: Any, intermediate_tensors: Any) -> None:
    """The same, timed wrongly."""
    intermediate_tensors.wait_for_comm()
    execute_model(output, intermediate_tensors)


if __name__ == "__main__":
    main()
