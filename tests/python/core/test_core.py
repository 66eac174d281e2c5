"""The native core through its Python API."""

import csv
import math
import pickle
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import cpp_chunk
import pytest

DATA = Path(__file__).parents[2] / "data"
LIMITS = {"max_chunk_tokens": 32768, "min_chunk_tokens": 256, "alignment": 128}


@pytest.fixture
def kimi() -> cpp_chunk.LatencyModel:
    """The published Kimi-K2.5 stage and the engine's gap of 17.5 ms a step."""
    return cpp_chunk.LatencyModel(
        quadratic=6.5e-7, cross=6.5e-7, linear=6.03e-3, context=5.39e-4, constant=26.1 + 17.5
    )


def profile(model: cpp_chunk.LatencyModel) -> list[tuple[list[tuple[int, int]], float]]:
    steps = [
        [(num_tokens, num_computed_tokens)]
        for num_tokens in (8192, 4096, 1024, 256)
        for num_computed_tokens in (0, 4096, 16384, 65536)
    ]
    return [(step, model.step_ms(step)) for step in steps]


def test_version_is_that_of_the_distribution() -> None:
    assert cpp_chunk.__version__ == version("cpp-chunk") == "0.1.0"


def test_import_brings_in_no_vllm() -> None:
    program = "import sys, cpp_chunk; sys.exit(any(m.split('.')[0] == 'vllm' for m in sys.modules))"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_model_prices_a_step() -> None:
    model = cpp_chunk.LatencyModel(quadratic=2, cross=3, linear=5, context=7, constant=11)
    assert model.step_ms([(4, 10), (6, 100)]) == 52 + 1920 + 50 + 770 + 11
    assert model.step_ms([]) == 11
    assert (model.quadratic, model.cross, model.linear) == (2, 3, 5)
    assert (model.context, model.constant) == (7, 11)


def test_model_is_a_value(kimi: cpp_chunk.LatencyModel) -> None:
    assert pickle.loads(pickle.dumps(kimi)) == kimi
    assert eval(repr(kimi), {"LatencyModel": cpp_chunk.LatencyModel}) == kimi  # noqa: S307
    assert hash(kimi) == hash(pickle.loads(pickle.dumps(kimi)))
    other = cpp_chunk.LatencyModel(quadratic=0, cross=0, linear=0, context=0, constant=1)
    assert kimi != other
    assert kimi != "model"
    with pytest.raises(AttributeError):
        kimi.linear = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_model_refuses_bad_coefficients(value: float) -> None:
    with pytest.raises(cpp_chunk.InvalidArgument, match="linear must be finite and >= 0"):
        cpp_chunk.LatencyModel(quadratic=0, cross=0, linear=value, context=0, constant=0)


def test_a_coefficient_just_below_zero_is_shown_as_such() -> None:
    with pytest.raises(cpp_chunk.InvalidArgument, match=r"quadratic .*, got -1e-09$"):
        cpp_chunk.LatencyModel(quadratic=-1e-9, cross=0, linear=1, context=0, constant=0)


def test_errors_are_a_tree() -> None:
    assert issubclass(cpp_chunk.Error, Exception)
    for error in (cpp_chunk.InvalidArgument, cpp_chunk.FitRefused):
        assert issubclass(error, cpp_chunk.Error)
        assert issubclass(error, ValueError)
    assert not issubclass(cpp_chunk.Error, ValueError)


def test_a_refused_argument_says_its_field_and_value(kimi: cpp_chunk.LatencyModel) -> None:
    with pytest.raises(cpp_chunk.InvalidArgument) as refused:
        cpp_chunk.LatencyModel(quadratic=-1e-9, cross=0, linear=1, context=0, constant=0)
    assert (refused.value.field, refused.value.value) == ("quadratic", "-1e-09")
    assert str(refused.value) == "quadratic must be finite and >= 0, got -1e-09"
    with pytest.raises(cpp_chunk.InvalidArgument) as refused:
        cpp_chunk.plan_fixed_chunks([kimi] * 4, 10, chunk_tokens=0)
    assert (refused.value.field, refused.value.value) == ("chunk_tokens", "0")


def test_wrong_types_are_type_errors(kimi: cpp_chunk.LatencyModel) -> None:
    with pytest.raises(TypeError):
        kimi.step_ms([(1.5, 0)])
    with pytest.raises(TypeError):
        cpp_chunk.base_target_ms(kimi, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("chunk_tokens", "published_ms"), [(32768, 14896), (8192, 10121), (2048, 12286)]
)
def test_flow_shop_agrees_with_the_published_figures(
    kimi: cpp_chunk.LatencyModel, chunk_tokens: int, published_ms: float
) -> None:
    times = [kimi.step_ms([(chunk_tokens, done)]) for done in range(0, 131072, chunk_tokens)]
    assert sum(times) + 3 * max(times) == pytest.approx(published_ms, rel=0.01)


def test_plan_beats_the_published_dynamic_figure(kimi: cpp_chunk.LatencyModel) -> None:
    plan = cpp_chunk.plan_chunks([kimi] * 4, 131072, **LIMITS)
    assert isinstance(plan.chunks, list)
    assert sum(plan.chunks) == 131072
    assert plan.makespan_ms < 9774
    assert plan.target_ms > kimi.constant


def test_plan_leaves_out_a_computed_prefix(kimi: cpp_chunk.LatencyModel) -> None:
    plan = cpp_chunk.plan_chunks([kimi] * 4, 131072, num_computed_tokens=131000, **LIMITS)
    assert plan.chunks == [72]


def test_serving_at_the_best_target_makes_the_plan(kimi: cpp_chunk.LatencyModel) -> None:
    target_ms = cpp_chunk.best_target_ms([kimi] * 4, [(131072, 0)], **LIMITS)
    plan = cpp_chunk.plan_chunks([kimi] * 4, 131072, **LIMITS)
    assert target_ms == plan.target_ms
    solver = cpp_chunk.ChunkSolver(kimi, **LIMITS)
    chunks: list[int] = []
    while sum(chunks) < 131072:
        solver.begin_step(target_ms)
        chunk = solver.chunk_tokens(131072 - sum(chunks), sum(chunks), 32768)
        solver.add_chunk(chunk, sum(chunks))
        assert solver.step_ms == pytest.approx(kimi.step_ms([(chunk, sum(chunks))]))
        chunks.append(chunk)
    assert chunks == plan.chunks


def test_base_target_is_the_published_rule(kimi: cpp_chunk.LatencyModel) -> None:
    assert cpp_chunk.base_target_ms(kimi, 4096) == kimi.step_ms([(4096, 0)])


def test_targets_refuse_bad_arguments(kimi: cpp_chunk.LatencyModel) -> None:
    with pytest.raises(cpp_chunk.InvalidArgument, match="backlog"):
        cpp_chunk.best_target_ms([kimi] * 4, [], **LIMITS)
    with pytest.raises(cpp_chunk.InvalidArgument, match="stages, got 0"):
        cpp_chunk.best_target_ms([], [(1, 0)], **LIMITS)
    with pytest.raises(cpp_chunk.InvalidArgument, match="stages, got 1025"):
        cpp_chunk.best_target_ms([kimi] * 1025, [(1, 0)], **LIMITS)
    with pytest.raises(cpp_chunk.InvalidArgument, match="alignment"):
        cpp_chunk.plan_chunks([kimi] * 4, 10, max_chunk_tokens=8, min_chunk_tokens=1, alignment=16)
    with pytest.raises(cpp_chunk.InvalidArgument, match="max_step_ms"):
        cpp_chunk.plan_chunks([kimi] * 4, 10, max_chunk_tokens=8, max_step_ms=0.0)
    with pytest.raises(cpp_chunk.InvalidArgument, match="preferred_multiples"):
        cpp_chunk.plan_chunks([kimi] * 4, 10, max_chunk_tokens=8, preferred_multiples=[0])
    with pytest.raises(cpp_chunk.InvalidArgument, match="backlog"):
        cpp_chunk.makespan_bound_ms([kimi] * 4, [])


def test_limits_have_defaults(kimi: cpp_chunk.LatencyModel) -> None:
    plan = cpp_chunk.plan_chunks([kimi] * 4, 131072, max_chunk_tokens=32768)
    assert sum(plan.chunks) == 131072


def test_plan_says_what_it_aims_at(kimi: cpp_chunk.LatencyModel) -> None:
    equal = cpp_chunk.plan_chunks([kimi] * 4, 131072, **LIMITS)
    assert equal.step_targets_ms == [equal.target_ms]
    ramped = cpp_chunk.plan_chunks([kimi] * 3 + [kimi.scaled(1.2)], 131072, **LIMITS)
    assert len(ramped.step_targets_ms) > 1
    assert ramped.target_ms == max(ramped.step_targets_ms)
    assert "makespan_ms=" in repr(ramped)


def test_plan_knows_how_many_steps_are_in_flight(kimi: cpp_chunk.LatencyModel) -> None:
    # With one at a time nothing overlaps: what is cut pays the constant once more on every stage.
    stages, limits = [kimi] * 3, {"max_chunk_tokens": 65536}
    alone = cpp_chunk.plan_chunks(stages, 65536, max_in_flight=1, **limits)
    assert alone.chunks == [65536]
    two = cpp_chunk.plan_fixed_chunks(stages, 65536, 32768, max_in_flight=1)
    assert two.makespan_ms == pytest.approx(3 * sum(two.step_targets_ms))
    cut = cpp_chunk.plan_chunks(stages, 65536, max_in_flight=3, **limits)
    assert cut.chunks == cpp_chunk.plan_chunks(stages, 65536, **limits).chunks
    assert len(cut.chunks) > 1
    prompts = [(65536, 0)]
    assert cpp_chunk.best_target_ms(stages, prompts, max_in_flight=1, **limits) == pytest.approx(
        alone.target_ms
    )
    with pytest.raises(cpp_chunk.InvalidArgument, match="max_in_flight"):
        cpp_chunk.plan_chunks(stages, 65536, max_in_flight=0, **limits)


def test_plan_of_a_fixed_size(kimi: cpp_chunk.LatencyModel) -> None:
    for chunk_tokens, published_ms in [(32768, 14896), (8192, 10121), (2048, 12286)]:
        plan = cpp_chunk.plan_fixed_chunks([kimi] * 4, 131072, chunk_tokens)
        assert plan.chunks == [chunk_tokens] * (131072 // chunk_tokens)
        assert plan.makespan_ms == pytest.approx(published_ms, rel=0.01)


# Optima of the linear programme over the times of 14 and 22 steps (HiGHS), and how they were
# posed: tests/cpp/ramp_test.cpp. The context is in the constant, for work that no cut changes.
@pytest.mark.parametrize(
    ("num_stages", "factor", "optimum_ms"), [(4, 1.2, 9993.187), (8, 1.15, 11373.577)]
)
def test_ramped_plan_is_the_linear_programmes_optimum(
    num_stages: int, factor: float, optimum_ms: float
) -> None:
    stage = cpp_chunk.LatencyModel(
        quadratic=6.5e-7,
        cross=6.5e-7,
        linear=6.03e-3,
        context=0,
        constant=26.1 + 17.5 + 5.39e-4 * 65536,
    )
    stages = [stage] * (num_stages - 1) + [stage.scaled(factor)]
    plan = cpp_chunk.plan_chunks(stages, 131072, max_chunk_tokens=32768, alignment=16)
    # Any number of steps may be taken here: a few per mille below the optimum of that one.
    assert 0.995 * optimum_ms < plan.makespan_ms < 1.005 * optimum_ms


def test_models_are_scaled_and_given_overhead(kimi: cpp_chunk.LatencyModel) -> None:
    step = [(4096, 1000)]
    assert kimi.scaled(1.5).step_ms(step) == pytest.approx(1.5 * kimi.step_ms(step))
    assert kimi.with_overhead(17.5).step_ms(step) == pytest.approx(kimi.step_ms(step) + 17.5)
    for value in (-1.0, math.nan, math.inf):
        with pytest.raises(cpp_chunk.InvalidArgument, match="factor"):
            kimi.scaled(value)
        with pytest.raises(cpp_chunk.InvalidArgument, match="overhead_ms"):
            kimi.with_overhead(value)


def test_makespan_bound_is_the_closed_form() -> None:
    model = cpp_chunk.LatencyModel(quadratic=0, cross=0, linear=0.01, context=0, constant=10)
    # W = 1000 ms, c = 10 ms, S = 5
    bound_ms = cpp_chunk.makespan_bound_ms([model] * 5, [(50_000, 0), (50_000, 7)])
    assert bound_ms == pytest.approx((math.sqrt(1000) + math.sqrt(40)) ** 2, rel=1e-5)


def test_layers_are_split_as_vllm_does() -> None:
    assert cpp_chunk.default_layer_split(61, 4) == [15, 15, 16, 15]
    assert cpp_chunk.default_layer_split(63, 4) == [16, 16, 16, 15]
    with pytest.raises(cpp_chunk.InvalidArgument, match="num_layers"):
        cpp_chunk.default_layer_split(3, 4)


def test_layers_are_evened_out(kimi: cpp_chunk.LatencyModel) -> None:
    stages = [kimi, kimi.scaled(3.0)]
    split = cpp_chunk.best_layer_split(stages, 65536, [4, 4], **LIMITS)
    assert split.layers == [6, 2]
    assert split.makespan_ms < split.makespan_before_ms
    assert split.makespan_before_ms == cpp_chunk.plan_chunks(stages, 65536, **LIMITS).makespan_ms
    with pytest.raises(cpp_chunk.InvalidArgument, match="layers"):
        cpp_chunk.best_layer_split(stages, 65536, [4], **LIMITS)


def test_planner_serves_its_plan(kimi: cpp_chunk.LatencyModel) -> None:
    stages = [kimi] * 3 + [kimi.scaled(1.2)]
    planner = cpp_chunk.ChunkPlanner(stages, **LIMITS)
    planner.set_backlog([(131072, 0)], num_under_way=0)
    chunks: list[int] = []
    while sum(chunks) < 131072:
        planner.begin_step()
        chunk = planner.chunk_tokens(131072 - sum(chunks), sum(chunks), 32768)
        planner.add_chunk(chunk, sum(chunks))
        planner.step_scheduled(len(chunks), [(chunk, sum(chunks))])
        planner.step_left(len(chunks) - 4)
        chunks.append(chunk)
        assert planner.step_ms == pytest.approx(stages[-1].step_ms([(chunk, sum(chunks) - chunk)]))
    assert chunks == cpp_chunk.plan_chunks(stages, 131072, **LIMITS).chunks


def test_planner_with_a_given_target(kimi: cpp_chunk.LatencyModel) -> None:
    planner = cpp_chunk.ChunkPlanner([kimi] * 2, **LIMITS, target_ms=200.0, max_step_ms=500.0)
    planner.set_backlog([(131072, 0)] * 20, 0)
    assert planner.target_ms == 200.0
    planner.set_stages([kimi.scaled(2.0)] * 2, target_ms=300.0)
    assert planner.target_ms == 300.0
    with pytest.raises(cpp_chunk.InvalidArgument, match="stages"):
        planner.set_stages([kimi])
    with pytest.raises(cpp_chunk.InvalidArgument, match="target_ms"):
        planner.set_stages([kimi] * 2, target_ms=-1.0)


def test_chunks_are_multiples_of_what_kernels_like(kimi: cpp_chunk.LatencyModel) -> None:
    plan = cpp_chunk.plan_chunks(
        [kimi] * 4, 131072, max_chunk_tokens=32768, alignment=16, preferred_multiples=[64, 256]
    )
    assert all(chunk % 256 == 0 for chunk in plan.chunks[:-1] if chunk > 16 * 256)
    assert sum(plan.chunks) == 131072


def test_solver_takes_its_arguments_by_name_too(kimi: cpp_chunk.LatencyModel) -> None:
    solver = cpp_chunk.ChunkSolver(kimi, **LIMITS, smooth_factor=0.0, base_chunk_tokens=2048)
    solver.begin_step(target_ms=1.0)
    assert (
        solver.chunk_tokens(remaining_tokens=9999, num_computed_tokens=5, max_tokens=4096) == 2048
    )
    solver.add_chunk(num_tokens=2048, num_computed_tokens=5)
    assert solver.step_ms == kimi.step_ms([(2048, 5)])


def test_solver_needs_a_step(kimi: cpp_chunk.LatencyModel) -> None:
    solver = cpp_chunk.ChunkSolver(kimi, **LIMITS)
    with pytest.raises(cpp_chunk.InvalidArgument, match="begin_step"):
        solver.chunk_tokens(1, 0, 1)


def test_planner_aims_the_step_under_way_anew(kimi: cpp_chunk.LatencyModel) -> None:
    planner = cpp_chunk.ChunkPlanner([kimi] * 4, **LIMITS)
    planner.begin_step()
    planner.set_backlog([(131072, 0)], num_under_way=0)
    before = planner.chunk_tokens(131072, 0, 32768)
    planner.set_backlog([(131072, 0)] * 50, num_under_way=0)
    assert planner.chunk_tokens(131072, 0, 32768) > before


def test_planner_takes_decodes_in_one_call(kimi: cpp_chunk.LatencyModel) -> None:
    one_by_one, at_once = (cpp_chunk.ChunkPlanner([kimi] * 4, **LIMITS) for _ in range(2))
    one_by_one.begin_step()
    at_once.begin_step()
    for history in (10, 200, 3000):
        one_by_one.add_chunk(1, history)
    at_once.add_decodes(3, 3210)
    assert at_once.step_ms == pytest.approx(one_by_one.step_ms)
    assert at_once.chunk_tokens(9999, 0, 32768) == one_by_one.chunk_tokens(9999, 0, 32768)


def test_planner_prices_rows_of_draft_tokens(kimi: cpp_chunk.LatencyModel) -> None:
    planner = cpp_chunk.ChunkPlanner([kimi] * 4, **LIMITS)
    planner.begin_step()
    planner.add_decodes(2, 3210, tokens_each=4)
    assert planner.step_ms == pytest.approx(kimi.step_ms([(4, 3000), (4, 210)]))


def test_planner_takes_decodes_into_the_target(kimi: cpp_chunk.LatencyModel) -> None:
    planner = cpp_chunk.ChunkPlanner([kimi] * 4, **LIMITS)
    planner.set_backlog([(131072, 0)], num_under_way=0)
    alone_ms = planner.target_ms
    planner.set_decodes(400, 400 * 4000)
    planner.set_backlog([(131072, 0)], num_under_way=0)
    # A hundred of them are in each of four steps in flight.
    assert planner.target_ms > alone_ms + kimi.step_ms([(1, 4000)] * 100) - kimi.constant
    with pytest.raises(cpp_chunk.InvalidArgument, match="num_decodes must be in"):
        planner.set_decodes(-1, 0)
    with pytest.raises(cpp_chunk.InvalidArgument, match="num_tokens must be in"):
        planner.step_scheduled(1, [(-1, 0)])


def test_planner_gives_a_prompt_a_part_of_the_step(kimi: cpp_chunk.LatencyModel) -> None:
    planner = cpp_chunk.ChunkPlanner([kimi] * 4, **LIMITS, target_ms=400.0)
    planner.begin_step()
    planner.add_decodes(100, 100 * 1000)
    alignment = LIMITS["alignment"]
    for share in (0.25, 0.5):
        chunk = planner.shared_chunk_tokens(60000, 8192, 32768, share)
        left_ms = share * (400.0 - planner.step_ms)
        assert kimi.step_ms([(chunk, 8192)]) - kimi.constant <= left_ms
        assert kimi.step_ms([(chunk + alignment, 8192)]) - kimi.constant > left_ms
    assert planner.shared_chunk_tokens(60000, 8192, 32768, 1.0) == planner.chunk_tokens(
        60000, 8192, 32768
    )
    # A block it has in any case.
    assert planner.shared_chunk_tokens(60000, 8192, 32768, 1e-9) == alignment
    with pytest.raises(cpp_chunk.InvalidArgument, match="share"):
        planner.shared_chunk_tokens(60000, 8192, 32768, 0.0)


def test_fit_reports_what_it_found(kimi: cpp_chunk.LatencyModel) -> None:
    report = cpp_chunk.fit_latency_model(profile(kimi))
    assert report.num_points == 16
    assert report.mean_relative_error < 1e-6
    assert report.p95_relative_error < 1e-6
    assert report.condition_number > 1
    assert report.model.linear == pytest.approx(kimi.linear)
    assert report.at_bound == ()


def test_fit_survives_a_cold_first_sample(kimi: cpp_chunk.LatencyModel) -> None:
    samples = profile(kimi)
    samples[0] = (samples[0][0], 30 * samples[0][1])
    report = cpp_chunk.fit_latency_model(samples)
    assert report.num_outliers == 1
    assert report.model.linear == pytest.approx(kimi.linear, rel=0.01)


def test_fit_refusals_say_why(kimi: cpp_chunk.LatencyModel) -> None:
    def reason(samples: list[tuple[list[tuple[int, int]], float]]) -> str:
        with pytest.raises(cpp_chunk.FitRefused) as refused:
            cpp_chunk.fit_latency_model(samples)
        return refused.value.reason

    assert reason([]) == "too_few_points"
    assert reason([([(64, 64 * i)], 1.0 + i) for i in range(16)]) == "single_chunk_size"
    assert reason([([(64 * i, 0)], 1.0 + i) for i in range(1, 17)]) == "no_history"
    two_sizes = [[(size, size * i)] for size in (64, 128) for i in range(8)]
    assert reason([(step, kimi.step_ms(step)) for step in two_sizes]) == "rank_deficient"
    wild = [
        (step, 10.0 if i % 2 else 1000.0 / (i + 1)) for i, (step, _) in enumerate(profile(kimi))
    ]
    assert reason(wild) == "bad_residual"


def test_fit_refuses_unusable_samples(kimi: cpp_chunk.LatencyModel) -> None:
    for chunks, latency_ms in [([(1, 0)], math.nan), ([(1, 0)], 0.0), ([(-1, 0)], 1.0), ([], 1.0)]:
        with pytest.raises(cpp_chunk.InvalidArgument):
            cpp_chunk.fit_latency_model([*profile(kimi), (chunks, latency_ms)])


@pytest.mark.parametrize("name", ["tiny", "wide"])
@pytest.mark.parametrize("held_out", [(512, 2048), (1024, 4096)])
def test_fit_predicts_measured_chunks_it_has_not_seen(name: str, held_out: tuple[int, int]) -> None:
    seen: list[tuple[list[tuple[int, int]], float]] = []
    unseen: list[tuple[list[tuple[int, int]], float]] = []
    with (DATA / "cpu_pp2_chunk_timings.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            sample = (
                [(int(row["num_tokens"]), int(row["num_computed_tokens"]))],
                max(float(row["stage0_ms"]), float(row["stage1_ms"])),
            )
            if row["model"] == name:
                (unseen if int(row["static_chunk_tokens"]) in held_out else seen).append(sample)
    model = cpp_chunk.fit_latency_model(seen).model
    errors = [abs(model.step_ms(chunks) / latency_ms - 1) for chunks, latency_ms in unseen]
    assert sum(errors) / len(errors) < 0.025


def test_calibrator_follows_the_device(kimi: cpp_chunk.LatencyModel) -> None:
    calibrator = cpp_chunk.Calibrator(profile(kimi), capacity=4)
    assert (calibrator.capacity, calibrator.num_recent, calibrator.num_rejected) == (4, 0, 0)
    assert calibrator.refit().num_points == 16
    for chunks, latency_ms in profile(kimi)[:6]:
        assert calibrator.add(chunks, latency_ms * 1.01)
    assert calibrator.num_recent == 4
    assert calibrator.refit().num_points == 20


def test_calibrator_drops_unusable_samples(kimi: cpp_chunk.LatencyModel) -> None:
    calibrator = cpp_chunk.Calibrator(profile(kimi), capacity=4)
    assert not calibrator.add([], 1.0)
    assert not calibrator.add([(-1, 0)], 1.0)
    assert not calibrator.add([(1, 0)], math.nan)
    assert calibrator.num_rejected == 3
    with pytest.raises(cpp_chunk.FitRefused):
        cpp_chunk.Calibrator([], capacity=4).refit()
    with pytest.raises(cpp_chunk.InvalidArgument, match="capacity"):
        cpp_chunk.Calibrator([], capacity=-1)
