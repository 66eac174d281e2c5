"""Profile files: what is written is read, and what is no profile gets a sentence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cpp_chunk import LatencyModel, fit_latency_model
from cpp_chunk.records.profile_file import (
    PipelineProfile,
    ProfileError,
    read_profile,
    write_profile,
)
from cpp_chunk.report.trace import Trace
from remembered import profile

if TYPE_CHECKING:
    from pathlib import Path

FIRST = {"quadratic": 1e-6, "cross": 2e-6, "linear": 0.003, "context": 0.0004, "constant": 5.0}
SECOND = {**FIRST, "constant": 6}
PROFILE = {
    "format": "cpp_chunk profile",
    "version": 1,
    "stages": [FIRST, SECOND],
    "gap_ms": 0.5,
}


def file_of(folder: Path, *documents: object) -> Path:
    path = folder / "profile.json"
    path.write_text("\n".join(json.dumps(document) for document in documents), encoding="utf-8")
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    models = [LatencyModel(**FIRST), LatencyModel(**SECOND)]
    path = tmp_path / "profile.json"
    write_profile(path, PipelineProfile.of(models, gap_ms=0.5))
    assert json.loads(path.read_text(encoding="utf-8")) == PROFILE
    assert read_profile(path).to_models() == models
    assert read_profile(path).gap_ms == 0.5


def test_last_model_of_a_trace_counts(tmp_path: Path) -> None:
    path = file_of(
        tmp_path,
        {"event": "profile_pass", "num_tokens": 1},
        {"event": "model", "source": "profile", "stages": [SECOND], "gap_ms": 0.1},
        {"event": "model", "source": "calibration", "stages": [FIRST], "gap_ms": 0.2},
        {"event": "step", "step": 1},
    )
    profile = read_profile(path)
    assert (profile.to_models(), profile.gap_ms) == ([LatencyModel(**FIRST)], 0.2)


def test_a_trace_with_a_model_a_stage(tmp_path: Path) -> None:
    path = file_of(
        tmp_path, {"event": "model", "stages": [FIRST, SECOND], "gap_ms": 0.2, "num_points": 9}
    )
    assert read_profile(path).to_models() == [LatencyModel(**FIRST), LatencyModel(**SECOND)]


def test_what_the_engine_writes_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = [LatencyModel(**FIRST), LatencyModel(**SECOND)]
    sizes = [(x, h) for x in (64, 256, 1024) for h in (0, 512, 4096)]
    reports = tuple(
        fit_latency_model([([chunk], model.step_ms([chunk])) for chunk in sizes])
        for model in models
    )
    path = tmp_path / "trace.jsonl"
    monkeypatch.setenv("CPP_CHUNK_TRACE_FILE", str(path))
    trace = Trace()
    trace.write("profile_pass", num_tokens=8)
    fitted = [report.model for report in reports]
    trace.write_models("profile", fitted, reports[0], gap_ms=0.25)
    trace.flush()
    assert trace.wait(30)
    profile = read_profile(path)
    assert profile.to_models() == fitted
    assert profile.gap_ms == 0.25


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    path = file_of(tmp_path, {"event": "model", "stages": [FIRST], "gap_ms": 0.2})
    with path.open("a", encoding="utf-8") as file:
        file.write('\n{"event": "mod')
    assert read_profile(path).gap_ms == 0.2


def test_what_the_engine_remembers_is_a_profile_file(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    write_profile(path, profile())
    assert read_profile(path) == profile()
    assert profile().measured_at is not None


def changed(**values: Any) -> dict[str, Any]:
    return {**PROFILE, **values}


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (
            changed(stages=[{**FIRST, "linear": -1}]),
            r"stages\.0\.linear is -1: allowed is a finite",
        ),
        (changed(stages=[{**FIRST, "linear": "x"}]), r"stages\.0\.linear is 'x': allowed is a fin"),
        (changed(stages=[{**FIRST, "cubic": 1}]), r"stages\.0\.cubic is not a known key\. Allowed"),
        (
            changed(stages=[{"linear": 1}]),
            r"stages\.0\.quadratic is missing\. Needed are quadratic",
        ),
        (changed(stages=[]), r"stages is \[\]: allowed is a list of objects"),
        (changed(stages=[3]), r"stages\.0 is 3: allowed is a list of objects"),
        (changed(gap_ms=-0.5), r"gap_ms is -0\.5: allowed is a finite number of milliseconds"),
        (changed(version=2), r"version is 2: allowed is 1"),
        (changed(format="other"), r"format is 'other': allowed is \"cpp_chunk profile\""),
        (changed(passes=[{"num_tokens": 0}]), r"passes\.0\.num_tokens is 0: allowed is a whole"),
        (changed(passes=[{}]), r"passes\.0\.num_tokens is missing\. Needed are num_tokens, num_c"),
        (changed(deployment={"colour": 1}), r"deployment\.model is missing\. Needed are model"),
        (changed(deployment=3), r"deployment is 3: allowed is an object that says"),
        (changed(measured_at="noon"), r"measured_at is 'noon': allowed is an ISO 8601 time in UTC"),
        (changed(seconds=-1), r"seconds is -1: allowed is a finite number of seconds"),
        ({"format": "cpp_chunk profile"}, r"stages is missing\. Needed are stages\."),
        (changed(gap=1), r"gap is not a known key\. Allowed are format, version, stages, gap_ms"),
        ({"a": 1}, r"is not a profile: allowed is a JSON object with \"format\""),
        ([1], r"holds a JSON list: allowed is"),
        ({"event": "step"}, r"is a trace without a model: allowed is"),
        ({"event": "model", "stages": None}, r"stages is None: allowed is a list"),
    ],
)
def test_a_wrong_file_gets_a_sentence(tmp_path: Path, document: object, sentence: str) -> None:
    with pytest.raises(ProfileError, match=sentence) as caught:
        read_profile(file_of(tmp_path, document))
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\xff\xfe\x00", "is not text"),
        (b"hello", r"is not JSON \(line 1 cannot be read\)"),
        (b'{"a": 1}\n{"b": 2}', r"holds other JSON lines than a trace \(line 1\)"),
        (b"", "is a trace without a model"),
    ],
)
def test_other_content_gets_a_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "profile.json"
    path.write_bytes(content)
    with pytest.raises(ProfileError, match=sentence):
        read_profile(path)
