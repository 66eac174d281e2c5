"""What must always hold of a plan and of a chunk, whatever the model and the input."""

import contextlib
import itertools
import math
from collections.abc import Sequence
from typing import TypedDict

import cpp_chunk
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

FAR = 10_000_000
KIMI = cpp_chunk.LatencyModel(
    quadratic=6.5e-7, cross=6.5e-7, linear=6.03e-3, context=5.39e-4, constant=43.6
)
# Few chunks are less work than many, on each of its stages.
DEAR_HISTORY = [
    cpp_chunk.LatencyModel(quadratic=3e-7, cross=9e-7, linear=6e-3, context=0.0, constant=40.0)
] * 4


class Limits(TypedDict, total=False):
    max_chunk_tokens: int
    min_chunk_tokens: int
    alignment: int
    preferred_multiples: list[int]
    max_step_ms: float


WIDE: Limits = {"max_chunk_tokens": 32768, "min_chunk_tokens": 0, "alignment": 16}


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
def like_stages(draw: st.DrawFn, most: int = 8) -> list[cpp_chunk.LatencyModel]:
    """Stages that are equal, or take each their own multiple of one model's time."""
    model = draw(models())
    factors = draw(
        st.one_of(
            st.integers(1, 16).map(lambda num_stages: [1.0] * num_stages),
            st.lists(st.floats(0.5, 2.0), min_size=1, max_size=most),
        )
    )
    return [model.scaled(factor) for factor in factors]


def stages(most: int = 8) -> st.SearchStrategy[list[cpp_chunk.LatencyModel]]:
    """The same, or each with a model of its own."""
    return st.one_of(like_stages(most), st.lists(models(), min_size=1, max_size=most))


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    alignment = 2 ** draw(st.integers(0, 9))
    max_chunk_tokens = draw(st.integers(alignment, 32768))
    return {
        "max_chunk_tokens": max_chunk_tokens,
        "min_chunk_tokens": draw(st.integers(0, max_chunk_tokens)),
        "alignment": alignment,
    }


@st.composite
def all_limits(draw: st.DrawFn) -> Limits:
    """With preferred multiples and a bound on a step as well."""
    limit = draw(limits())
    if draw(st.booleans()):
        multiples = st.sampled_from([8, 16, 48, 64, 96, 128, 256, 1000, 4096])
        limit["preferred_multiples"] = draw(st.lists(multiples, max_size=3))
    if draw(st.booleans()):
        limit["max_step_ms"] = draw(st.floats(-1, 4).map(lambda exponent: 10.0**exponent))
    return limit


def histories(chunks: Sequence[int], num_computed_tokens: int) -> list[int]:
    return [*itertools.accumulate(chunks[:-1], initial=num_computed_tokens)]


def fixed_chunks(num_tokens: int, chunk_tokens: int) -> list[int]:
    return [min(chunk_tokens, num_tokens - done) for done in range(0, num_tokens, chunk_tokens)]


def flow_shop_ms(
    pipeline: Sequence[cpp_chunk.LatencyModel], chunks: Sequence[int], num_computed_tokens: int = 0
) -> float:
    """When the last chunk leaves the last stage.

    A stage takes one step at a time, in order; as many steps are inside as there are stages.
    """
    free_ms = [0.0] * len(pipeline)
    left_ms: list[float] = []
    for chunk, history in zip(chunks, histories(chunks, num_computed_tokens), strict=True):
        at_ms = left_ms[-len(pipeline)] if len(left_ms) >= len(pipeline) else 0.0
        for stage, model in enumerate(pipeline):
            at_ms = max(at_ms, free_ms[stage]) + chunk_ms(model, chunk, history) + model.constant
            free_ms[stage] = at_ms
        left_ms.append(at_ms)
    return left_ms[-1]


def slowest(pipeline: Sequence[cpp_chunk.LatencyModel]) -> cpp_chunk.LatencyModel:
    """Of stages that are multiples of one model."""
    return max(pipeline, key=lambda model: model.step_ms([(1000, 1000)]))


def chunk_ms(model: cpp_chunk.LatencyModel, num_tokens: float, num_computed_tokens: int) -> float:
    """What a chunk adds to a step, for a fraction of a token too."""
    return (
        model.quadratic * num_tokens**2 / 2
        + model.cross * num_tokens * num_computed_tokens
        + model.linear * num_tokens
        + model.context * num_computed_tokens
    )


@given(stages(), all_limits(), st.integers(1, 60_000), st.integers(0, 50_000))
def test_plan_is_a_cut_of_the_prompt(
    pipeline: list[cpp_chunk.LatencyModel],
    limit: Limits,
    num_tokens: int,
    num_computed_tokens: int,
) -> None:
    plan = cpp_chunk.plan_chunks(
        pipeline,
        num_computed_tokens + num_tokens,
        num_computed_tokens=num_computed_tokens,
        **limit,
    )
    assert sum(plan.chunks) == num_tokens
    end = num_computed_tokens
    for i, chunk in enumerate(plan.chunks):
        assert 0 < chunk <= limit["max_chunk_tokens"]
        end += chunk
        assert i == len(plan.chunks) - 1 or end % limit["alignment"] == 0
    for target_ms in plan.step_targets_ms:
        assert math.isfinite(target_ms)
        assert 0.0 <= target_ms <= limit.get("max_step_ms", math.inf)
    assert plan.target_ms == max(plan.step_targets_ms)
    flow_ms = flow_shop_ms(pipeline, plan.chunks, num_computed_tokens)
    assert plan.makespan_ms == pytest.approx(flow_ms, rel=1e-9, abs=1e-9)


@given(stages(), all_limits(), st.integers(1, 60_000), st.integers(0, 50_000))
def test_no_step_of_a_plan_is_longer_than_max_step_ms(
    pipeline: list[cpp_chunk.LatencyModel],
    limit: Limits,
    num_tokens: int,
    num_computed_tokens: int,
) -> None:
    """On no stage, whichever is priced."""
    limit.setdefault("max_step_ms", 50.0)
    plan = cpp_chunk.plan_chunks(
        pipeline,
        num_computed_tokens + num_tokens,
        num_computed_tokens=num_computed_tokens,
        **limit,
    )
    starts = histories(plan.chunks, num_computed_tokens)
    for chunk, history in zip(plan.chunks, starts, strict=True):
        if chunk > limit["alignment"]:
            step_ms = max(model.step_ms([(chunk, history)]) for model in pipeline)
            assert step_ms <= limit["max_step_ms"] * (1 + 1e-9)


@given(stages(), limits(), st.integers(1, 60_000))
def test_plan_is_as_good_as_the_best_fixed_size(
    pipeline: list[cpp_chunk.LatencyModel], limit: Limits, num_tokens: int
) -> None:
    """Of the sizes whose last chunk is none that equal times avoid: under half of the size.

    A step's size follows from its time, so tokens must cost something on every stage.
    """
    assume(all(model.quadratic > 0 or model.linear > 0 for model in pipeline))
    plan = cpp_chunk.plan_chunks(pipeline, num_tokens, **limit)
    sizes = {
        size
        for power in range(16)
        for size in (2**power, 2**power + 2**power // 2)
        if max(1, limit["min_chunk_tokens"]) <= size <= limit["max_chunk_tokens"]
        and size % limit["alignment"] == 0
        and num_tokens / size <= 4000
        and (num_tokens < size or num_tokens % size == 0 or 2 * (num_tokens % size) >= size)
    }
    assume(sizes)
    best_ms = min(flow_shop_ms(pipeline, fixed_chunks(num_tokens, size)) for size in sizes)
    assert plan.makespan_ms <= 1.01 * best_ms + 1e-9


@given(
    like_stages(),
    st.integers(64, 32768),
    st.floats(0, 7).map(lambda exponent: round(10**exponent)),
    st.integers(0, 100_000),
)
@example([KIMI] * 4, 256, 1_000_000, 0)
@example([KIMI] * 4, 512, FAR, 0)
def test_a_plan_is_never_later_than_full_steps(
    pipeline: list[cpp_chunk.LatencyModel],
    max_chunk_tokens: int,
    num_tokens: int,
    num_computed_tokens: int,
) -> None:
    """However many steps it takes."""
    assume(num_tokens / max_chunk_tokens < 50_000)
    prompt_tokens = num_computed_tokens + num_tokens
    plan = cpp_chunk.plan_chunks(
        pipeline,
        prompt_tokens,
        num_computed_tokens=num_computed_tokens,
        max_chunk_tokens=max_chunk_tokens,
    )
    full = cpp_chunk.plan_fixed_chunks(
        pipeline, prompt_tokens, max_chunk_tokens, num_computed_tokens=num_computed_tokens
    )
    assert plan.makespan_ms <= 1.005 * full.makespan_ms + 1e-9


@given(stages(), limits(), st.integers(1, 60_000), st.integers(1, 32768))
def test_a_fixed_plan_is_what_it_says(
    pipeline: list[cpp_chunk.LatencyModel],
    limit: Limits,
    num_tokens: int,
    chunk_tokens: int,
) -> None:
    plan = cpp_chunk.plan_fixed_chunks(pipeline, num_tokens, chunk_tokens)
    assert plan.chunks == fixed_chunks(num_tokens, chunk_tokens)
    flow_ms = flow_shop_ms(pipeline, plan.chunks)
    assert plan.makespan_ms == pytest.approx(flow_ms, rel=1e-9, abs=1e-9)


@given(like_stages(), all_limits(), st.integers(1, 60_000), st.integers(0, 50_000))
def test_no_last_chunk_of_a_plan_is_under_half_of_the_one_before(
    pipeline: list[cpp_chunk.LatencyModel],
    limit: Limits,
    num_tokens: int,
    num_computed_tokens: int,
) -> None:
    """But for an alignment step; and these are all the exceptions of equal times that there are.

    1. The chunk before it, at two thirds of what both hold, would fall below min_chunk_tokens.
    2. Where history is dear beside tokens (cross > 2 * quadratic) a last chunk is judged by its
       time instead: it takes at least half as long.
    """
    plan = cpp_chunk.plan_chunks(
        pipeline,
        num_computed_tokens + num_tokens,
        num_computed_tokens=num_computed_tokens,
        **limit,
    )
    assume(len(plan.chunks) > 1)
    # A row of times, a ramp's or a fixed size's, is taken with what its last step takes.
    assume(len(plan.step_targets_ms) == 1)
    before, last = plan.chunks[-2:]
    history = num_computed_tokens + num_tokens - before - last
    alignment = limit["alignment"]
    if 2 * last + alignment < before:
        end = (history + 2 * (before + last) // 3) // alignment * alignment
        if end - history < limit["min_chunk_tokens"] <= before:
            return
        model = slowest(pipeline)
        assert model.cross > 2 * model.quadratic
        last_ms = chunk_ms(model, last + alignment, history + before)
        assert 2 * last_ms >= chunk_ms(model, before, history) * (1 - 1e-9)


@given(stages(), all_limits(), st.integers(1, 60_000), st.integers(0, 400))
def test_chunks_are_multiples_of_what_is_small_beside_them(
    pipeline: list[cpp_chunk.LatencyModel],
    limit: Limits,
    num_tokens: int,
    aligned_steps: int,
) -> None:
    """But the last, the one before it, which shares out the rest, and those that a floor raised."""
    alignment = limit["alignment"]
    num_computed_tokens = aligned_steps * alignment
    plan = cpp_chunk.plan_chunks(
        pipeline,
        num_computed_tokens + num_tokens,
        num_computed_tokens=num_computed_tokens,
        **limit,
    )
    quanta = [alignment]
    for multiple in limit.get("preferred_multiples", []):
        quantum = math.lcm(quanta[-1], multiple)
        if quantum <= limit["max_chunk_tokens"]:
            quanta.append(quantum)
    for chunk in plan.chunks[:-2]:
        if chunk <= limit["min_chunk_tokens"] + alignment:
            continue
        # A sixteenth of what was to be rounded: of a chunk rounded up, a little less.
        for quantum in itertools.takewhile(lambda q: 16.5 * q <= chunk, quanta):  # noqa: B023
            assert chunk % quantum == 0


@given(
    stages(),
    limits(),
    st.integers(1, 60_000),
    st.integers(0, 100_000),
    st.integers(1, 200),
    st.sets(st.floats(0, 1), max_size=12),
)
@example(DEAR_HISTORY, WIDE, 131_072, 0, 1, set())
@example(DEAR_HISTORY, WIDE, 131_072, 0, 16, {0.5, 0.75})
@example([KIMI, KIMI.scaled(0.5), KIMI.scaled(2.0)], WIDE, 131_072, 0, 1, set())
@example([KIMI, *DEAR_HISTORY[:2]], WIDE, 131_072, 50_000, 16, {0.5, 0.75})
def test_no_plan_is_better_than_the_bound(  # noqa: PLR0917
    pipeline: list[cpp_chunk.LatencyModel],
    limit: Limits,
    num_tokens: int,
    num_computed_tokens: int,
    num_parts: int,
    cuts: set[float],
) -> None:
    """Ours, one size throughout, or cut anywhere; of unequal stages too."""
    bound_ms = cpp_chunk.makespan_bound_ms(pipeline, [(num_tokens, num_computed_tokens)])
    plan = cpp_chunk.plan_chunks(
        pipeline,
        num_computed_tokens + num_tokens,
        num_computed_tokens=num_computed_tokens,
        **limit,
    )
    assert bound_ms <= plan.makespan_ms
    size = math.ceil(num_tokens / num_parts)
    ends = {max(1, round(share * num_tokens)) for share in cuts} | {num_tokens}
    cut = [end - begin for begin, end in itertools.pairwise([0, *sorted(ends)])]
    for chunks in (fixed_chunks(num_tokens, size), cut):
        assert bound_ms <= flow_shop_ms(pipeline, chunks, num_computed_tokens)


@given(
    stages(),
    st.integers(64, 32768),
    st.lists(st.tuples(st.integers(1, 60_000), st.integers(0, 100_000)), min_size=2, max_size=8),
)
def test_no_steps_of_a_backlog_are_better_than_the_bound(
    pipeline: list[cpp_chunk.LatencyModel], max_chunk_tokens: int, prompts: list[tuple[int, int]]
) -> None:
    assume(sum(num_tokens for num_tokens, _ in prompts) / max_chunk_tokens < 1000)
    result = cpp_chunk.simulate(
        cpp_chunk.SimulatedPipeline(pipeline, max_num_batched_tokens=max_chunk_tokens),
        [
            cpp_chunk.SimulatedRequest(history + num_tokens, cached_tokens=history)
            for num_tokens, history in prompts
        ],
        cpp_chunk.FixedPolicy(max_chunk_tokens),
    )
    assert cpp_chunk.makespan_bound_ms(pipeline, prompts) <= result.makespan_ms * (1 + 1e-9)


@given(stages(4), all_limits(), st.integers(1, 60_000), st.lists(st.integers(1, 40), min_size=4))
def test_a_layer_split_keeps_the_layers_and_never_predicts_worse(
    pipeline: list[cpp_chunk.LatencyModel],
    limit: Limits,
    num_tokens: int,
    counts: list[int],
) -> None:
    layers = counts[: len(pipeline)] + [1] * (len(pipeline) - len(counts))
    split = cpp_chunk.best_layer_split(pipeline, num_tokens, layers, **limit)
    assert len(split.layers) == len(layers)
    assert sum(split.layers) == sum(layers)
    assert min(split.layers) >= 1
    assert split.makespan_ms <= split.makespan_before_ms
    if split.makespan_ms == split.makespan_before_ms:
        assert split.layers == layers
    after = [
        model.scaled(now / before)
        for model, now, before in zip(pipeline, split.layers, layers, strict=True)
    ]
    plan = cpp_chunk.plan_chunks(after, num_tokens, **limit)
    assert split.makespan_ms == pytest.approx(plan.makespan_ms, rel=1e-9, abs=1e-9)


@given(st.integers(1, 1024), st.integers(0, 10**6))
def test_the_default_layer_split_is_even(num_stages: int, more: int) -> None:
    split = cpp_chunk.default_layer_split(num_stages + more, num_stages)
    assert sum(split) == num_stages + more
    assert max(split) - min(split) <= 1
    assert split[-1] == min(split)


@given(models(), limits(), st.integers(1, FAR), st.integers(0, FAR), st.floats(0.0, 1e5))
def test_chunk_costs_at_most_its_budget_and_an_alignment_step(
    model: cpp_chunk.LatencyModel,
    limit: Limits,
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
    limit: Limits,
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
    limit: Limits,
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
    all_limits(),
    st.integers(0, FAR),
    st.integers(0, FAR),
    st.floats(0.0, 1e5),
)
def test_longer_history_never_gives_a_larger_chunk(
    model: cpp_chunk.LatencyModel,
    limit: Limits,
    first_history: int,
    second_history: int,
    target_ms: float,
) -> None:
    """Shown where nothing is shared out: what remains is far more than any step takes.

    Histories end on the alignment here: chunks after others reach for the next end.
    """
    alignment = limit["alignment"]
    shorter, longer = (
        history // alignment * alignment for history in sorted((first_history, second_history))
    )
    solver = cpp_chunk.ChunkSolver(model, **limit)
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
    st.lists(models(), max_size=3),
    st.tuples(*[ANY_INT] * 6),
    st.lists(ANY_INT, max_size=3),
    ANY_FLOAT,
    st.lists(st.tuples(ANY_INT, ANY_INT), max_size=3),
)
@example([], (1, 1, 1, 1, 1, 0), [], 1.0, [])
@example([KIMI] * 3, (32768, 256, 128, 0, FAR, 0), [], math.inf, [(FAR, 0)])
@example([KIMI, KIMI.scaled(1.2)], (1, 1, 1, 0, FAR, 0), [], math.inf, [(FAR, 0)])
def test_any_input_gives_a_plan_or_a_typed_error(
    pipeline: list[cpp_chunk.LatencyModel],
    counts: tuple[int, ...],
    preferred_multiples: list[int],
    max_step_ms: float,
    prompts: list[tuple[int, int]],
) -> None:
    cap, floor, alignment, num_computed_tokens, num_tokens, chunk_tokens = counts
    limit: Limits = {
        "max_chunk_tokens": cap,
        "min_chunk_tokens": floor,
        "alignment": alignment,
        "preferred_multiples": preferred_multiples,
        "max_step_ms": max_step_ms,
    }
    with contextlib.suppress(cpp_chunk.InvalidArgument):
        plan = cpp_chunk.plan_chunks(
            pipeline, num_tokens, num_computed_tokens=num_computed_tokens, **limit
        )
        assert sum(plan.chunks) == num_tokens - num_computed_tokens
    with contextlib.suppress(cpp_chunk.InvalidArgument):
        plan = cpp_chunk.plan_fixed_chunks(
            pipeline, num_tokens, chunk_tokens, num_computed_tokens=num_computed_tokens
        )
        assert sum(plan.chunks) == num_tokens - num_computed_tokens
    with contextlib.suppress(cpp_chunk.InvalidArgument):
        assert cpp_chunk.best_target_ms(pipeline, prompts, **limit) >= 0
    with contextlib.suppress(cpp_chunk.InvalidArgument):
        assert cpp_chunk.makespan_bound_ms(pipeline, prompts) >= 0
    with contextlib.suppress(cpp_chunk.InvalidArgument):
        assert sum(cpp_chunk.default_layer_split(cap, floor)) == cap
    with contextlib.suppress(cpp_chunk.InvalidArgument):
        layers = [alignment, floor, cap][: len(pipeline)]
        split = cpp_chunk.best_layer_split(pipeline, num_tokens, layers, **limit)
        assert sum(split.layers) == sum(layers)
    with contextlib.suppress(cpp_chunk.InvalidArgument):
        planner = cpp_chunk.ChunkPlanner(pipeline, **limit)
        with contextlib.suppress(cpp_chunk.InvalidArgument):
            planner.set_backlog(prompts, abs(chunk_tokens) % 4)
        for remaining_tokens, history in prompts:
            planner.begin_step()
            with contextlib.suppress(cpp_chunk.InvalidArgument):
                planner.add_decodes(chunk_tokens, history)
            with contextlib.suppress(cpp_chunk.InvalidArgument):
                chunk = planner.chunk_tokens(remaining_tokens, history, FAR)
                assert chunk > 0 or remaining_tokens == 0
                assert chunk <= min(remaining_tokens, cap, FAR)
                planner.add_chunk(chunk, history)
        assert planner.target_ms >= 0


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
