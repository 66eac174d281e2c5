"""Steps joined with their times: whatever is lost or late, the model stays true."""

from __future__ import annotations

import json
from concurrent.futures import wait
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cpp_chunk
import pytest
from cpp_chunk.config import parse_config
from cpp_chunk.engine.feedback import Feedback
from cpp_chunk.engine.gap import GapMeter
from cpp_chunk.engine.planner import ServingPlanner
from cpp_chunk.engine.stage_fits import StageCalibrators
from cpp_chunk.engine.trace import Trace
from cpp_chunk.status import STATUS_FILE_VARIABLE, EngineStatus, read_status

if TYPE_CHECKING:
    from pathlib import Path

    from cpp_chunk.engine.stages import StageTimes

TRUTH = cpp_chunk.LatencyModel(quadratic=8e-5, cross=5e-5, linear=0.02, context=0.0, constant=4.0)
PROFILE = [
    ([(x, h)], [TRUTH.step_ms([(x, h)])] * 2) for x in (256, 1024, 4096) for h in (0, 4096, 16384)
]


class Stages:
    """Answers at once with what the test has put in."""

    def __init__(self) -> None:
        self.times: StageTimes = {}
        self.asked: list[int] = []

    def request(self, after_step_id: int) -> None:
        self.asked.append(after_step_id)

    def poll(self) -> StageTimes | None:
        times, self.times = self.times, {}
        return times or None


class Bench:
    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trace_path = tmp_path / "trace.jsonl"
        self.status_path = tmp_path / "status.json"
        monkeypatch.setenv("CPP_CHUNK_TRACE_FILE", str(self.trace_path))
        monkeypatch.setenv(STATUS_FILE_VARIABLE, str(self.status_path))
        self.planner = ServingPlanner(
            parse_config({"enabled": True}),
            max_chunk_tokens=8192,
            alignment_tokens=128,
        )
        self.planner.set_models([TRUTH, TRUTH], 0.0)
        self.stages = Stages()
        self.feedback = Feedback(
            stages=self.stages,  # type: ignore[arg-type]
            planner=self.planner,
            calibrators=StageCalibrators(PROFILE, num_stages=2, capacity=64),
            models=(TRUTH, TRUTH),
            num_stages=2,
            gaps=GapMeter(),
            first_step_id=100,
            trace=Trace(),
            status=EngineStatus(),
        )

    def step(self, num_tokens: int, history: int = 0) -> int:
        output = SimpleNamespace(
            num_scheduled_tokens={"a": num_tokens}, total_num_scheduled_tokens=num_tokens
        )
        request: Any = SimpleNamespace(num_computed_tokens=history + num_tokens)
        self.feedback.scheduled(output, {"a": request})  # type: ignore[arg-type]
        step_id: int = output.cpp_chunk_step_id
        return step_id

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.trace_path.read_text().splitlines()]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_a_step_is_joined_with_the_times_of_all_stages(bench: Bench) -> None:
    first = bench.step(1024)
    second = bench.step(512, 1024)
    bench.stages.times = {
        first: {0: (1.0, 90.0), 1: (1.1, 95.0)},
        second: {0: (1.1, 70.0)},  # the second stage has not finished it
    }
    bench.feedback.processed(idle=True)
    [step] = bench.events()
    assert step["chunks"] == [["a", 1024, 0]]
    assert [stage["compute_ms"] for stage in step["stages"]] == [90.0, 95.0]
    assert step["predicted_ms"] == pytest.approx(TRUTH.step_ms([(1024, 0)]))
    assert bench.stages.asked == [first]
    # Asked again from there, the workers send the second step once more, whole.
    bench.stages.times = {second: {0: (1.1, 70.0), 1: (1.2, 71.0)}}
    bench.feedback.processed(idle=True)
    assert [event["step"] for event in bench.events()] == [first, second]
    assert read_status(bench.status_path).measured_steps == 2


def test_each_stages_model_follows_what_is_measured_there(bench: Bench) -> None:
    slower = 1.5
    for number in range(64):
        x, h = 256 * (1 + number % 5), 2048 * (number % 4)
        step_id = bench.step(x, h)
        first_ms = TRUTH.step_ms([(x, h)])
        bench.stages.times = {step_id: {0: (0.0, first_ms), 1: (0.0, slower * first_ms)}}
        bench.feedback.processed(idle=False)
        if bench.feedback._refit is not None:
            wait([bench.feedback._refit])
    bench.feedback.processed(idle=False)
    status = read_status(bench.status_path)
    assert status.refits == 4
    models = [event for event in bench.events() if event["event"] == "model"]
    assert len(models) == 4
    first, second = models[-1]["stages"]
    assert first["cross"] == pytest.approx(TRUTH.cross, rel=0.01)
    assert second["cross"] > 1.2 * TRUTH.cross
    predicted_ms = [e["predicted_ms"] for e in bench.events() if e["event"] == "step"]
    # The same chunk as 60 steps before.
    assert predicted_ms[63] > 1.2 * predicted_ms[3]


def test_lost_steps_are_forgotten(bench: Bench) -> None:
    lost = bench.step(1024)
    kept = bench.step(1024)
    bench.stages.times = {kept: {0: (0.0, 9.0), 1: (0.0, 9.0)}}
    bench.feedback.processed(idle=False)
    assert [event["step"] for event in bench.events()] == [kept]
    assert lost not in bench.feedback._noted
    for _ in range(3000):
        bench.step(1024)
    assert len(bench.feedback._noted) <= 1024


def test_most_steps_of_decodes_alone_are_not_noted(bench: Bench) -> None:
    for _ in range(160):
        bench.step(1, 500)
    assert len(bench.feedback._noted) == 10


def test_a_fall_back_is_counted_and_traced(bench: Bench) -> None:
    bench.feedback.fell_back("choosing a chunk", ZeroDivisionError("oh"))
    assert read_status(bench.status_path).fallbacks == {"choosing a chunk": 1}
    assert bench.events()[-1]["event"] == "fallback"
    assert "oh" in bench.events()[-1]["reason"]


def test_the_gap_between_chunks_of_a_prompt_is_measured(bench: Bench) -> None:
    gaps = bench.feedback._gaps
    for number in range(12):
        step_id = bench.step(1024, 1024 * number)
        # 90 ms of compute every 95 ms, and every third time held up by the stage behind.
        start_s = 0.095 * number + 0.02 * (number // 3)
        bench.stages.times = {step_id: {0: (start_s, 90.0), 1: (start_s + 0.09, 90.0)}}
        bench.feedback.processed(idle=False)
    assert gaps.gap_ms == pytest.approx(5.0)
