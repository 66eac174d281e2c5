"""What must always hold of a plan and of a chunk, whatever the model and the input."""

import math

import cpp_chunk
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

FAR = 10_000_000
settings.register_profile("planning", deadline=None, max_examples=300, derandomize=True)
settings.load_profile("planning")


def zero_or(low: float, high: float) -> st.SearchStrategy[float]:
    """0, or a value spread over orders of magnitude from 10**low to 10**high."""
    return st.one_of(st.just(0.0), st.floats(low, high).map(lambda exponent: 10.0**exponent))


@st.composite
def models(draw: st.DrawFn) -> cpp_chunk.LatencyModel:
    quadratic = draw(zero_or(-9, -4))
    return cpp_chunk.LatencyModel(
        quadratic=quadratic,
        cross=draw(st.one_of(st.just(quadratic), zero_or(-9, -4))),
        linear=draw(zero_or(-4, 0)),
        context=draw(zero_or(-6, -2)),
        constant=draw(zero_or(-1, 3)),
    )


@st.composite
def limits(draw: st.DrawFn) -> dict[str, int]:
    alignment = 2 ** draw(st.integers(0, 9))
    max_chunk_tokens = draw(st.integers(alignment, 32768))
    return {
        "max_chunk_tokens": max_chunk_tokens,
        "min_chunk_tokens": draw(st.integers(0, max_chunk_tokens)),
        "alignment": alignment,
    }


def fixed_makespan_ms(
    model: cpp_chunk.LatencyModel, num_tokens: int, chunk_tokens: int, num_stages: int
) -> float:
    times = [
        model.step_ms([(min(chunk_tokens, num_tokens - done), done)])
        for done in range(0, num_tokens, chunk_tokens)
    ]
    return sum(times) + (num_stages - 1) * max(times)


def chunk_ms(model: cpp_chunk.LatencyModel, num_tokens: float, num_computed_tokens: int) -> float:
    """What a chunk adds to a step, for a fraction of a token too."""
    return (
        model.quadratic * num_tokens**2 / 2
        + model.cross * num_tokens * num_computed_tokens
        + model.linear * num_tokens
        + model.context * num_computed_tokens
    )


@given(models(), limits(), st.integers(1, 60_000), st.integers(1, 16), st.integers(0, 50_000))
def test_plan_is_a_cut_of_the_prompt(
    model: cpp_chunk.LatencyModel,
    limit: dict[str, int],
    num_tokens: int,
    num_stages: int,
    num_computed_tokens: int,
) -> None:
    plan = cpp_chunk.plan_chunks(
        model,
        num_computed_tokens + num_tokens,
        num_stages=num_stages,
        num_computed_tokens=num_computed_tokens,
        **limit,
    )
    assert sum(plan.chunks) == num_tokens
    end = num_computed_tokens
    for i, chunk in enumerate(plan.chunks):
        assert 0 < chunk <= limit["max_chunk_tokens"]
        end += chunk
        assert i == len(plan.chunks) - 1 or end % limit["alignment"] == 0
    assert math.isfinite(plan.target_ms)
    assert plan.target_ms >= 0.0


@given(models(), limits(), st.integers(1, 60_000), st.integers(1, 16))
def test_plan_is_as_good_as_the_best_fixed_size(
    model: cpp_chunk.LatencyModel, limit: dict[str, int], num_tokens: int, num_stages: int
) -> None:
    plan = cpp_chunk.plan_chunks(model, num_tokens, num_stages=num_stages, **limit)
    sizes = {
        size
        for power in range(16)
        for size in (2**power, 2**power + 2**power // 2)
        if max(1, limit["min_chunk_tokens"]) <= size <= limit["max_chunk_tokens"]
        and size % limit["alignment"] == 0
        and num_tokens / size <= 4000
    }
    assume(sizes)
    best_ms = min(fixed_makespan_ms(model, num_tokens, size, num_stages) for size in sizes)
    assert plan.makespan_ms <= 1.01 * best_ms + 1e-9


@given(models(), limits(), st.integers(1, FAR), st.integers(0, FAR), st.floats(0.0, 1e5))
def test_chunk_costs_at_most_its_budget_and_an_alignment_step(
    model: cpp_chunk.LatencyModel,
    limit: dict[str, int],
    remaining_tokens: int,
    num_computed_tokens: int,
    target_ms: float,
) -> None:
    solver = cpp_chunk.ChunkSolver(model, **limit)
    solver.begin_step(target_ms)
    chunk = solver.chunk_tokens(remaining_tokens, num_computed_tokens, FAR)
    assert 0 < chunk <= min(remaining_tokens, limit["max_chunk_tokens"])
    alignment = limit["alignment"]
    # The floor of an empty step, rounded up to the alignment, or stretched to end the prompt.
    floor = max(alignment, limit["min_chunk_tokens"] * 1.25, limit["min_chunk_tokens"] + alignment)
    if chunk > floor:
        left_ms = target_ms - model.constant
        within = max(0.0, chunk - alignment - 1e-6 * chunk)
        assert chunk_ms(model, within, num_computed_tokens) <= left_ms * (1 + 1e-9) + 1e-9


@given(
    models(), limits(), st.integers(1, FAR), st.integers(0, 65536), st.floats(0.0, 1e5), st.data()
)
def test_part_filled_step_is_not_overshot(  # noqa: PLR0917
    model: cpp_chunk.LatencyModel,
    limit: dict[str, int],
    remaining_tokens: int,
    num_computed_tokens: int,
    target_ms: float,
    data: st.DataObject,
) -> None:
    solver = cpp_chunk.ChunkSolver(model, **limit)
    solver.begin_step(target_ms)
    for _ in range(data.draw(st.integers(0, 3))):
        solver.add_chunk(1, data.draw(st.integers(0, FAR)))
    solver.add_chunk(data.draw(st.integers(2, 4096)), data.draw(st.integers(0, FAR)))
    left_ms = target_ms - solver.step_ms
    chunk = solver.chunk_tokens(remaining_tokens, num_computed_tokens, FAR)
    # min_chunk_tokens is no licence here: nothing beyond one alignment step, and 0 is an answer.
    within = max(0.0, chunk - limit["alignment"] - 1e-6 * chunk)
    if chunk > 0:
        tolerance = 1e-9 * (target_ms + solver.step_ms) + 1e-9
        assert chunk_ms(model, within, num_computed_tokens) <= left_ms + tolerance


@given(models(), limits(), st.integers(1, FAR), st.integers(0, FAR), st.integers(1, 64))
def test_decodes_never_starve_a_prefill(
    model: cpp_chunk.LatencyModel,
    limit: dict[str, int],
    remaining_tokens: int,
    num_computed_tokens: int,
    num_decodes: int,
) -> None:
    solver = cpp_chunk.ChunkSolver(model, **limit)
    solver.begin_step(0.0)
    for _ in range(num_decodes):
        solver.add_chunk(1, num_computed_tokens)
    assert solver.chunk_tokens(remaining_tokens, num_computed_tokens, FAR) > 0


@given(
    models(),
    st.integers(1, FAR),
    st.integers(0, FAR),
    st.integers(0, FAR),
    st.floats(0.0, 1e5),
)
def test_longer_history_never_gives_a_larger_chunk(
    model: cpp_chunk.LatencyModel,
    num_tokens: int,
    first_history: int,
    second_history: int,
    target_ms: float,
) -> None:
    """Shown in a step that nothing is shared out in: the rest of the prompt is no limit there.

    A part-filled step with all of its target still free of context is what isolates the solver:
    remaining_tokens far beyond any step, so the share of a step is its whole budget.
    """
    solver = cpp_chunk.ChunkSolver(
        model, max_chunk_tokens=num_tokens, min_chunk_tokens=0, alignment=1
    )
    shorter, longer = sorted((first_history, second_history))
    solver.begin_step(target_ms)
    before = solver.chunk_tokens(10**11, shorter, FAR)
    after = solver.chunk_tokens(10**11, longer, FAR)
    assert after <= before + 1  # one token of rounding


@given(models(), st.integers(64, 32768), st.integers(1, 60_000), st.floats(0.1, 1e4))
def test_no_last_chunk_is_under_half_of_the_one_before(
    model: cpp_chunk.LatencyModel, max_chunk_tokens: int, num_tokens: int, target_ms: float
) -> None:
    # Beyond this a last chunk is judged by its time, since few tokens of it can take long.
    assume(model.cross <= 2 * model.quadratic)
    solver = cpp_chunk.ChunkSolver(
        model, max_chunk_tokens=max_chunk_tokens, min_chunk_tokens=0, alignment=1
    )
    chunks: list[int] = []
    while sum(chunks) < num_tokens and len(chunks) < 3000:
        solver.begin_step(target_ms)
        chunks.append(solver.chunk_tokens(num_tokens - sum(chunks), sum(chunks), FAR))
    if sum(chunks) == num_tokens and len(chunks) > 1:
        assert 2 * chunks[-1] + 2 >= chunks[-2]


ANY_INT = st.one_of(
    st.integers(-5, 5), st.integers(-(2**62), 2**62), st.sampled_from([0, FAR, -(2**63), 2**63 - 1])
)
ANY_FLOAT = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([0.0, 1.0, 1e308])
)


@given(st.tuples(*[ANY_FLOAT] * 5), st.tuples(*[ANY_INT] * 6), ANY_FLOAT, ANY_FLOAT)
def test_any_input_gives_an_answer_or_a_typed_error(
    coefficients: tuple[float, ...],
    counts: tuple[int, ...],
    target_ms: float,
    smooth_factor: float,
) -> None:
    names = ("quadratic", "cross", "linear", "context", "constant")
    try:
        model = cpp_chunk.LatencyModel(**dict(zip(names, coefficients, strict=True)))
    except cpp_chunk.InvalidArgument:
        assert any(not math.isfinite(c) or c < 0 for c in coefficients)
        model = cpp_chunk.LatencyModel(
            quadratic=1e-6, cross=1e-6, linear=1e-2, context=1e-4, constant=10.0
        )
    cap, floor, alignment, remaining_tokens, num_computed_tokens, max_tokens = counts
    try:
        solver = cpp_chunk.ChunkSolver(
            model,
            max_chunk_tokens=cap,
            min_chunk_tokens=floor,
            alignment=alignment,
            smooth_factor=smooth_factor,
        )
    except cpp_chunk.InvalidArgument:
        solver = cpp_chunk.ChunkSolver(
            model, max_chunk_tokens=8192, min_chunk_tokens=256, alignment=16
        )
        cap = 8192
    try:
        solver.begin_step(target_ms)
    except cpp_chunk.InvalidArgument:
        assert not target_ms >= 0
        solver.begin_step(100.0)
    try:
        chunk = solver.chunk_tokens(remaining_tokens, num_computed_tokens, max_tokens)
    except cpp_chunk.InvalidArgument:
        return
    assert (chunk > 0) == (remaining_tokens > 0 and max_tokens > 0)
    assert chunk <= min(remaining_tokens, max_tokens, cap)


@given(
    st.lists(st.tuples(st.lists(st.tuples(ANY_INT, ANY_INT), max_size=2), ANY_FLOAT), max_size=12)
)
def test_any_samples_give_a_model_or_a_typed_error(
    samples: list[tuple[list[tuple[int, int]], float]],
) -> None:
    with pytest.raises(cpp_chunk.Error):  # so few and so wild: none of them carries a model
        cpp_chunk.fit_latency_model(samples)
    calibrator = cpp_chunk.Calibrator([], capacity=8)
    for chunks, latency_ms in samples:
        calibrator.add(chunks, latency_ms)
    assert calibrator.num_recent <= 8


@given(models(), st.lists(st.floats(-0.03, 0.03), min_size=20, max_size=20))
def test_fit_predicts_what_it_was_given(model: cpp_chunk.LatencyModel, noise: list[float]) -> None:
    assume(model.constant > 0 or model.linear > 0)
    steps = [
        [(num_tokens, num_computed_tokens)]
        for num_tokens in (256, 512, 1024, 4096, 8192)
        for num_computed_tokens in (0, 1024, 8192, 32768)
    ]
    report = cpp_chunk.fit_latency_model(
        [(step, model.step_ms(step) * (1 + n)) for step, n in zip(steps, noise, strict=True)]
    )
    assert report.mean_relative_error < 0.04
    for step in steps:
        assert report.model.step_ms(step) == pytest.approx(model.step_ms(step), rel=0.2)
