"""Steps joined with their times: whatever is lost or late, the model stays true."""

from __future__ import annotations

import json
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cpp_chunk
import pytest
from cpp_chunk.engine.book import StepBook
from cpp_chunk.engine.calibration.feedback import Feedback
from cpp_chunk.engine.calibration.guard import SILENT_STEPS, WINDOW_STEPS, Guard
from cpp_chunk.engine.calibration.lone_prompt import LonePrompts
from cpp_chunk.engine.calibration.refits import Refits
from cpp_chunk.engine.calibration.step_times import StepTimes
from cpp_chunk.engine.gap import GapMeter
from cpp_chunk.engine.planner import ServingPlanner
from cpp_chunk.engine.stage_fits import StageCalibrators
from cpp_chunk.records.last_run import read_last_run
from cpp_chunk.records.status import STATUS_FILE_VARIABLE, EngineStatus, read_status
from cpp_chunk.report.run_report import RunReport
from cpp_chunk.report.trace import Trace
from cpp_chunk.settings.config import parse_config
from cpp_chunk.settings.deployment import Deployment

if TYPE_CHECKING:
    from pathlib import Path

    from cpp_chunk.engine.stage_timers import StageTimes

TRUTH = cpp_chunk.LatencyModel(quadratic=8e-5, cross=5e-5, linear=0.02, context=0.0, constant=4.0)
PROFILE = [
    ([(x, h)], [TRUTH.step_ms([(x, h)])] * 2) for x in (256, 1024, 4096) for h in (0, 4096, 16384)
]


DEPLOYMENT = Deployment(
    model="m",
    model_config_sha256="0" * 64,
    pipeline_parallel_size=2,
    execution="eager",
    device_name="d",
    cpp_chunk_version="0",
)


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
    def __init__(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trace_path: Path | None = None
    ) -> None:
        self.trace_path = trace_path or tmp_path / "trace.jsonl"
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
        monkeypatch.setenv("CPP_CHUNK_CACHE_DIR", str(tmp_path / "cache"))
        self.status = EngineStatus()
        self.guard = Guard(LonePrompts(max_chunk_tokens=8192))
        self.book = StepBook()
        self.trace = Trace()
        self.report = RunReport(self.status, DEPLOYMENT, self.trace)
        self.times = StepTimes(self.stages, 2, 0, self.status.count_skipped)  # type: ignore[arg-type]
        self.background = ThreadPoolExecutor(max_workers=1)
        self.refits = Refits(
            StageCalibrators(PROFILE, num_stages=2, capacity=64),
            self.background,
            self.status.count_skipped,
        )
        self.feedback = Feedback(
            planner=self.planner,
            models=(TRUTH, TRUTH),
            times=self.times,
            refits=self.refits,
            gaps=GapMeter(),
            guard=self.guard,
            report=self.report,
        )

    def wait_for_refit(self) -> None:
        """Waits for the refit that must be under way."""
        assert self.refits._under_way is not None
        wait([self.refits._under_way], timeout=60)

    def step(self, num_tokens: int, history: int = 0, remaining: int = 0, **more: Any) -> int:
        output = SimpleNamespace(
            num_scheduled_tokens={"a": num_tokens}, total_num_scheduled_tokens=num_tokens, **more
        )
        done = history + num_tokens
        request: Any = SimpleNamespace(num_computed_tokens=done, num_tokens=done + remaining)
        booked = self.book.scheduled(output, {"a": request})  # type: ignore[arg-type]
        assert booked is not None
        self.feedback.scheduled(booked, {"a": request})
        return booked.step_id

    def published(self) -> EngineStatus:
        """What the status file says."""
        # A hung trace is no matter of theirs.
        for file in (self.report._status_file, self.report._last_run_file):
            assert file.wait(30)
        return read_status(self.status_path)

    def events(self) -> list[dict[str, Any]]:
        assert self.trace.wait(30)
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
    assert bench.published().measured_steps == 2


def test_each_stages_model_follows_what_is_measured_there(bench: Bench) -> None:
    slower = 1.5
    for number in range(64):
        x, h = 256 * (1 + number % 5), 2048 * (number % 4)
        step_id = bench.step(x, h)
        first_ms = TRUTH.step_ms([(x, h)])
        bench.stages.times = {step_id: {0: (0.0, first_ms), 1: (0.0, slower * first_ms)}}
        bench.feedback.processed(idle=False)
        if bench.refits._under_way is not None:
            bench.wait_for_refit()
    bench.feedback.processed(idle=False)
    status = bench.published()
    assert status.refits == 8
    assert status.drifts == 1
    models = [event for event in bench.events() if event["event"] == "model"]
    assert len(models) == 8
    first, second = models[-1]["stages"]
    assert first["cross"] == pytest.approx(TRUTH.cross, rel=0.01)
    assert second["cross"] == pytest.approx(slower * TRUTH.cross, rel=0.05)
    predicted_ms = [e["predicted_ms"] for e in bench.events() if e["event"] == "step"]
    # The same chunk as 60 steps before.
    assert predicted_ms[63] == pytest.approx(slower * predicted_ms[3], rel=0.05)


def test_lost_steps_are_forgotten(bench: Bench) -> None:
    bench.step(1024)
    kept = bench.step(1024)
    bench.stages.times = {kept: {0: (0.0, 9.0), 1: (0.0, 9.0)}}
    bench.feedback.processed(idle=False)
    assert [event["step"] for event in bench.events()] == [kept]
    assert bench.times.num_waiting == 0
    assert bench.published().skipped_steps == {"lost": 1}
    for _ in range(3000):
        bench.step(1024)
    assert bench.times.num_waiting <= 1024


def test_a_step_that_one_stage_did_not_time_is_skipped_and_counted(bench: Bench) -> None:
    first, second = bench.step(1024), bench.step(512, 1024)
    bench.stages.times = {
        first: {0: (0.0, 9.0)},
        second: {0: (0.0, 9.0), 1: (0.0, 9.0)},
    }
    bench.feedback.processed(idle=True)
    assert [event["step"] for event in bench.events()] == [second]
    assert bench.published().skipped_steps == {"not timed by every stage": 1}


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ({"scheduled_encoder_inputs": {"a": [0]}}, "encoder inputs"),
        ({"has_sync_kv_loads": True}, "synchronous KV loads"),
    ],
)
def test_a_step_that_holds_more_than_compute_is_skipped_and_counted(
    bench: Bench, step: dict[str, Any], reason: str
) -> None:
    bench.step(1024, **step)
    assert bench.times.num_waiting == 0
    assert bench.status.skipped_steps == {reason: 1}


def test_times_that_are_none_are_counted(bench: Bench) -> None:
    for _ in range(8):
        step_id = bench.step(1024)
        bench.stages.times = {step_id: {0: (0.0, 9.0), 1: (0.0, float("nan"))}}
        bench.feedback.processed(idle=False)
    bench.wait_for_refit()
    bench.feedback.processed(idle=False)
    assert bench.status.skipped_steps == {"unusable time": 8}


def measure(bench: Bench, num_steps: int, factors: list[float]) -> None:
    """Steps whose time is a factor of what is predicted, in turn."""
    for number in range(num_steps):
        x, h = 256 * (1 + number % 5), 2048 * (number % 4)
        step_id = bench.step(x, h)
        ms = TRUTH.step_ms([(x, h)]) * factors[number % len(factors)]
        bench.stages.times = {step_id: {0: (0.0, ms), 1: (0.0, ms)}}
        bench.feedback.processed(idle=False)


def test_the_guard_takes_dynamic_chunks_away_and_gives_them_back(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("vllm").propagate = True
    with caplog.at_level(logging.INFO, logger="vllm"):
        measure(bench, 64, [1.0])
        assert bench.planner.target_ms is not None
        # No model can follow this.
        measure(bench, 200, [0.5, 1.9, 0.6, 1.6])
        assert bench.planner.target_ms is None
        status = bench.published()
        assert status.fallbacks == {"guard": 1}
        assert status.target_ms is None
        measured = status.measured_steps
        measure(bench, 200, [1.0])
        assert bench.status.measured_steps == measured + 200
        assert bench.planner.target_ms is not None
    assert caplog.text.count("fixed chunks until predictions hold again") == 1
    assert caplog.text.count("predictions hold again: dynamic chunks") == 1
    assert [event["distrust"] is None for event in bench.events() if event["event"] == "guard"] == [
        False,
        True,
    ]


# Of these times two stages are a whole step's, one is what a stage's failed timer leaves.
@pytest.mark.parametrize("answering", [[], [0]])
@pytest.mark.parametrize("measured_before", [0, 70])
def test_stages_that_stop_answering_take_dynamic_chunks_away(
    bench: Bench, measured_before: int, answering: list[int]
) -> None:
    measure(bench, measured_before, [1.0])
    assert bench.planner.target_ms is not None
    for _ in range(SILENT_STEPS):
        assert bench.planner.target_ms is not None
        step_id = bench.step(1024)
        bench.stages.times = {step_id: dict.fromkeys(answering, (0.0, 9.0))}
        bench.feedback.processed(idle=False)
    assert bench.planner.target_ms is None
    status = bench.published()
    assert status.fallbacks == {"guard": 1}
    assert status.target_ms is None
    assert bench.events()[-1]["distrust"].startswith("no times ")
    measure(bench, WINDOW_STEPS - 1, [1.0])
    assert bench.planner.target_ms is None
    measure(bench, 1, [1.0])
    assert bench.planner.target_ms is not None


def test_times_that_come_late_are_no_reason(bench: Bench) -> None:
    """Sixteen stages: seventeen steps in flight, and as many again before an answer is there."""
    answers: deque[StageTimes] = deque([{}] * 50)
    for _ in range(600):
        step_id = bench.step(1024)
        ms = TRUTH.step_ms([(1024, 0)])
        answers.append({step_id: {0: (0.0, ms), 1: (0.0, ms)}})
        bench.stages.times = answers.popleft()
        bench.feedback.processed(idle=False)
    assert bench.status.measured_steps == 550
    assert bench.guard.distrust is None


@pytest.mark.parametrize(
    "skipped",
    [
        {"num_tokens": 1024, "scheduled_encoder_inputs": {"a": [0]}},
        {"num_tokens": 1024, "has_sync_kv_loads": True},
        {"num_tokens": 1},
    ],
    ids=["encoder inputs", "synchronous KV loads", "decodes alone"],
)
def test_steps_that_are_not_noted_are_no_reason(bench: Bench, skipped: dict[str, Any]) -> None:
    # Of decodes alone one in sixteen is noted, and would count.
    for _ in range(16 * (SILENT_STEPS - 1)):
        bench.step(history=500, **skipped)
        bench.feedback.processed(idle=False)
    assert bench.guard.distrust is None


def test_prediction_errors_are_summed_up(bench: Bench) -> None:
    measure(bench, 2, [1.0, 2.0])
    status = bench.published()
    assert status.prediction_errors == 2
    assert status.prediction_error_sum == pytest.approx(0.5)
    assert status.median_error == pytest.approx(0.25)


def test_the_last_run_is_kept(bench: Bench) -> None:
    bench.feedback.fell_back("choosing a chunk", "choosing a chunk failed (oh)")
    bench.feedback.ended()
    assert bench.report.wait(30)
    run = read_last_run()
    assert run is not None
    assert run.chunks == "fixed"
    assert run.reason == "choosing a chunk failed (oh)"
    assert run.deployment == DEPLOYMENT.digest


def test_most_steps_of_decodes_alone_are_not_noted(bench: Bench) -> None:
    for _ in range(160):
        bench.step(1, 500)
    assert bench.times.num_waiting == 10


def test_a_fall_back_is_counted_and_traced(bench: Bench) -> None:
    bench.feedback.fell_back("choosing a chunk", "choosing a chunk failed (oh)")
    assert bench.published().fallbacks == {"choosing a chunk": 1}
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
