"""`cpp-chunk doctor`: exit code 0 only if dynamic chunks would run, and what to do otherwise."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

import pytest
from command import Outcome, run
from cpp_chunk import __version__
from cpp_chunk.cli.doctor import probe
from cpp_chunk.cli.doctor.probe import EngineAnswer, SettingsAnswer, ask_engine
from cpp_chunk.records.cache_dir import CACHE_DIR_VARIABLE
from cpp_chunk.records.last_run import LastRun, write_last_run
from cpp_chunk.records.profile_store import ProfileStore
from cpp_chunk.records.utc_time import utc_now
from cpp_chunk.settings.deployment import Deployment
from remembered import deployment, profile

from benchmarks.engine.tiny_model import write_tiny_model

if TYPE_CHECKING:
    from pathlib import Path

SCHEDULER = "vllm.v1.core.sched.scheduler.Scheduler"
ENABLED = '{"profiling_chunk_config": {"enabled": true}}'

real_vllm = [
    pytest.mark.engine,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vLLM"),
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_DIR_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.delenv("VLLM_PLUGINS", raising=False)
    return tmp_path / "cache"


def answer(settings: dict[str, Any] | None = None, **changes: Any) -> EngineAnswer:
    values: dict[str, Any] = {
        "vllm_version": "0.32.0",
        "device_name": "a device",
        "seams": {"a.place": True, "another.place": True},
        "shapes": {SCHEDULER: None},
    }
    if settings is not None:
        values["settings"] = SettingsAnswer(
            **({"enabled": True, "deployment": deployment(), "max_passes": 16} | settings)
        )
    return EngineAnswer(**(values | changes))


def doctor(
    monkeypatch: pytest.MonkeyPatch, said: EngineAnswer, *arguments: str
) -> dict[str, list[dict[str, Any]]]:
    """Findings by section, after an exit code that agrees with them."""
    asked: list[Any] = []

    def ask(vllm_arguments: list[str], *, verbose: bool) -> EngineAnswer:
        asked.append(vllm_arguments)
        return said

    real_find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: True if name == "vllm" else real_find(name)
    )
    monkeypatch.setattr("cpp_chunk.cli.doctor.command.ask_engine", ask)
    outcome = run("doctor", "--json", *(("--", *arguments) if arguments else ()))
    assert asked == [list(arguments)]
    return findings(outcome)


def findings(outcome: Outcome) -> dict[str, list[dict[str, Any]]]:
    report = json.loads(outcome.out)
    found = {section["name"]: section["findings"] for section in report["sections"]}
    assert report["dynamic_chunks"] is (problems(found) == [])
    assert outcome.code == (0 if report["dynamic_chunks"] else 1)
    return found


def problems(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    bad = [(name, one) for name, part in found.items() for one in part if one["state"] == "problem"]
    assert all(one["remedy"] for _, one in bad)
    return [f"{name}: {one['text']}" for name, one in bad]


def texts(found: dict[str, list[dict[str, Any]]], section: str) -> str:
    return "\n".join(one["text"] for one in found[section])


@pytest.fixture
def no_torch_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions of what may not be installed here."""
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"1.0 of {name}")


pytestmark = pytest.mark.usefixtures("no_torch_needed")


def test_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    found = doctor(monkeypatch, answer())
    assert list(found) == ["installed", "plugin", "shape", "settings", "profile", "last run"]
    assert problems(found) == []
    assert "device a device" in texts(found, "installed")
    assert "2 of 2 seams" in texts(found, "plugin")
    assert SCHEDULER in texts(found, "shape")
    assert "no arguments" in texts(found, "settings")
    assert "0 remembered" in texts(found, "profile")
    assert "no engine has reported" in texts(found, "last run")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (answer(problem="boom"), "installed: vLLM cannot be asked: boom"),
        (answer(device_name=None), "installed: vLLM finds no device on this machine"),
        (answer(plugin_problem="boom"), "plugin: loading vLLM's plugins failed: boom"),
        (
            answer(seams={"a.place": True, "another.place": False}),
            "plugin: vLLM has loaded its plugins, and ours is not in another.place",
        ),
        (answer(release_problem="vLLM 99 is not."), "shape: vLLM 99 is not."),
        (
            answer({"implementation": "in-tree", "enabled": False}),
            (
                "settings: profiling_chunk_config.implementation is 'in-tree': "
                "vllm-ascend's own version runs"
            ),
        ),
        (answer(shapes={SCHEDULER: "scheduler class X: no."}), "shape: scheduler class X: no."),
        (answer({"problem": "a sentence."}), "settings: a sentence."),
        (
            answer({"enabled": False}),
            "settings: profiling_chunk_config.enabled is false: chunks are fixed",
        ),
        (
            answer({"smooth_factor": 0.0}),
            "settings: profiling_chunk_config.smooth_factor is 0: chunks are fixed",
        ),
    ],
)
def test_each_problem(monkeypatch: pytest.MonkeyPatch, said: EngineAnswer, problem: str) -> None:
    assert problems(doctor(monkeypatch, said)) == [problem]


def test_a_release_that_the_settings_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    said = answer({"allow_untested": True}, release_problem="vLLM 99 is not.")
    found = doctor(monkeypatch, said)
    assert problems(found) == []
    assert "vLLM 99 is not. That is set." in texts(found, "shape")


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        ("cpp_chunk,b", []),
        ("b", ["plugin: VLLM_PLUGINS is 'b': vLLM loads no others"]),
        ("", ["plugin: VLLM_PLUGINS is '': vLLM loads no others"]),
    ],
)
def test_plugins_that_are_filtered(
    monkeypatch: pytest.MonkeyPatch, allowed: str, expected: list[str]
) -> None:
    monkeypatch.setenv("VLLM_PLUGINS", allowed)
    assert problems(doctor(monkeypatch, answer())) == expected


def test_a_plugin_that_is_not_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [])
    [problem] = problems(doctor(monkeypatch, answer()))
    assert problem.startswith("plugin: no entry point cpp_chunk in vllm.general_plugins")


def test_without_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    real_find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "vllm" else real_find(name)
    )
    found = findings(run("doctor", "--json"))
    assert [problem.split(" in ")[0] for problem in problems(found)] == [
        "installed: vLLM is not installed"
    ]


def test_the_profile_that_a_start_would_use(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ProfileStore.of_user()
    said = answer({})
    found = doctor(monkeypatch, said, "some/model")
    assert texts(found, "profile") == (
        f"none is remembered for {deployment().digest}: at most 16 passes at the start, "
        "more on a busy machine"
    )
    store.save(profile())
    found = doctor(monkeypatch, said, "some/model")
    assert texts(found, "profile") == (
        f"{deployment().digest}, measured at 2026-01-31T12:00:00+00:00, 4 passes; checked at the "
        "start"
    )
    store.path(deployment()).chmod(0o666)
    found = doctor(monkeypatch, said, "some/model")
    assert "writable for everybody" in texts(found, "profile")
    assert problems(found) == []
    assert found["profile"][0]["remedy"] == f"cpp-chunk profile rm {deployment().digest}"


def test_where_a_start_takes_no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    found = doctor(monkeypatch, answer({"no_profile": "with data parallelism"}), "some/model")
    assert texts(found, "profile").startswith("no start-up profile with data parallelism: ")
    assert problems(found) == []


def test_profiles_of_this_vllm_and_device_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ProfileStore.of_user()
    for of in (deployment(), deployment(vllm_version="0.31"), deployment(device_name="other")):
        store.save(profile(of))
    found = doctor(monkeypatch, answer())
    assert texts(found, "profile") == "3 remembered, 1 of them of this vLLM and this device"


def last_run(**changes: Any) -> LastRun:
    values: dict[str, Any] = {
        "at": utc_now(),
        "model": "some/model",
        "vllm_version": "0.32.0",
        "cpp_chunk_version": __version__,
        "chunks": "dynamic",
        "target_ms": 1560.0,
        "median_error": 0.021,
        "measured_steps": 20,
        "profile": "remembered",
        "profile_passes": 2,
        "profile_s": 0.5,
    }
    return LastRun(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "ok"),
        ({"chunks": "fixed", "fallbacks": {"choosing a chunk": 1}}, "problem"),
        ({"chunks": "fixed", "reason": "smooth_factor is 0"}, "note"),
        ({"chunks": "fixed", "fallbacks": {"no fit": 1}, "vllm_version": "0.31"}, "note"),
        ({"chunks": "dynamic", "fallbacks": {"no fit": 1}}, "ok"),
    ],
)
def test_the_last_run(monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], state: str) -> None:
    write_last_run(last_run(**changes))
    found = doctor(monkeypatch, answer())
    assert found["last run"][0]["state"] == state
    assert found["last run"][1]["text"] == (
        "profile remembered, 2 passes, 0.5 s; target 1.56 s; median error of predicted steps "
        "2.1 %; 20 steps measured, 0 refits"
    )


def test_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "cpp_chunk.cli.doctor.command.ask_engine", lambda *_, **__: answer({"enabled": False})
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    outcome = run("doctor", "--", "some/model")
    assert outcome.code == 1
    lines = outcome.out.splitlines()
    place = lines.index("settings")
    assert lines[place + 1] == (
        "  PROBLEM  profiling_chunk_config.enabled is false: chunks are fixed"
    )
    # As it can be pasted: nothing of it is taken for markup.
    assert lines[place + 2] == f"           -> add --additional-config '{ENABLED}'"
    assert lines[-1] == "Dynamic chunks would not run: 1 problem."


def test_a_process_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho '{\"no\": 1}'\necho the reason >&2\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    assert ask_engine([], verbose=False).problem == (
        "the process that asks vLLM ended with exit code 3: the reason"
    )
    python.write_text("#!/bin/sh\nexec sleep 10\n")
    monkeypatch.setattr(probe, "TIMEOUT_S", 0.1)
    assert "not answered" in str(ask_engine([], verbose=False).problem)


class TestWithRealVllm:
    pytestmark = real_vllm

    def test_the_seams_and_shapes(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        found = ask_engine([], verbose=False)
        assert found.problem is None
        assert found.vllm_version
        assert found.device_name
        assert found.plugin_problem is None
        assert list(found.seams.values()) == [True] * 3
        assert found.shapes[SCHEDULER] is None
        assert len(found.shapes) == 2
        assert found.settings is None
        assert not cache.exists()

    def test_a_plugin_that_vllm_does_not_load(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VLLM_PLUGINS", "another")
        found = ask_engine([], verbose=False)
        assert found.problem is None
        assert list(found.seams.values()) == [False] * 3

    def test_settings_that_are_accepted(self, tmp_path: Path) -> None:
        model = write_tiny_model(tmp_path / "model")
        found = ask_engine(
            [
                str(model),
                *("--load-format", "dummy", "--enforce-eager", "--dtype", "float32"),
                *("--max-model-len", "8192", "--max-num-batched-tokens", "4096"),
                *("-pp", "2", "--port", "8123", "--additional-config", ENABLED),
            ],
            verbose=False,
        )
        assert found.problem is None
        assert list(found.shapes.values()) == [None]
        settings = found.settings
        assert settings is not None
        assert settings.problem is None
        assert settings.enabled
        assert settings.not_looked_at == ["--port", "8123"]
        assert settings.max_passes
        assert settings.no_profile is None
        of = settings.deployment
        assert isinstance(of, Deployment)
        assert of.model == str(model)
        assert (of.dtype, of.execution) == ("float32", "eager")
        assert (of.pipeline_parallel_size, of.layers_of_stages) == (2, [4, 4])
        assert (of.max_model_len, of.max_num_batched_tokens) == (8192, 4096)
        assert of.block_size
        assert of.max_num_seqs
        assert of.vllm_version == found.vllm_version
        assert of.device_name == found.device_name
        assert of.distributed_executor_backend == "mp"
        # Nothing that changes from run to run.
        assert "0x" not in of.model_dump_json()

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (
                ["-pp", "1"],
                (
                    "pipeline_parallel_size is 1: allowed is 2 or more, since there is no pipeline "
                    "to fill with one stage."
                ),
            ),
            (
                ["-pp", "2", "--distributed-executor-backend", "external_launcher"],
                (
                    "distributed_executor_backend is external_launcher: allowed is one that "
                    "reaches all stages, such as mp or ray, since with this one each rank "
                    "schedules for itself and sees the times of its own stage only."
                ),
            ),
        ],
    )
    def test_settings_that_are_refused(
        self, tmp_path: Path, arguments: list[str], sentence: str
    ) -> None:
        model = write_tiny_model(tmp_path / "model")
        found = findings(
            run("doctor", "--json", "--", model, *arguments, "--additional-config", ENABLED)
        )
        [problem] = problems(found)
        assert problem == f"settings: profiling_chunk_config.enabled is true but {sentence}"
