"""The simulator and its policies through their Python API."""

import math
import signal
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from types import FrameType

import cpp_chunk
import pytest
from cpp_chunk import SimulatedPipeline, SimulatedRequest

# A step of x tokens takes 10 + x ms: 100 tokens 110 ms, a decode 11 ms.
UNIT = cpp_chunk.LatencyModel(quadratic=0, cross=0, linear=1, context=0, constant=10)
KIMI = cpp_chunk.LatencyModel(
    quadratic=6.5e-7, cross=6.5e-7, linear=6.03e-3, context=5.39e-4, constant=26.1
)


class Halves(cpp_chunk.ChunkPolicy):
    """Two chunks a prompt; notes every call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[object, ...]] = []

    def set_backlog(self, prompts: Sequence[tuple[int, int]], num_under_way: int) -> None:
        self.calls.append(("backlog", prompts, num_under_way))

    def begin_step(self) -> None:
        self.calls.append(("step",))

    def chunk_tokens(self, remaining_tokens: int, num_computed_tokens: int, max_tokens: int) -> int:
        half = -(-(remaining_tokens + num_computed_tokens) // 2)
        return min(half, remaining_tokens, max_tokens)

    def add_chunk(self, num_tokens: int, num_computed_tokens: int) -> None:
        self.calls.append(("add", num_tokens, num_computed_tokens))

    def measured(self, features: cpp_chunk.StepFeatures, latency_ms: float) -> None:
        self.calls.append(("measured", features.token_sum, features.cross_sum, latency_ms))


class Answers(Halves):
    """Answers whatever it is given."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer

    def chunk_tokens(self, remaining_tokens: int, num_computed_tokens: int, max_tokens: int) -> int:
        return self.answer  # type: ignore[return-value]


def test_flow_shop() -> None:
    # Three steps of 110 ms through three stages.
    pipeline = SimulatedPipeline([UNIT] * 3, max_num_batched_tokens=1000)
    result = cpp_chunk.simulate(
        pipeline, [SimulatedRequest(300)], cpp_chunk.FixedPolicy(100), record_steps=True
    )
    assert result.makespan_ms == 550
    assert result.num_steps == 3
    assert result.bubble_share == [0, 0, 0]
    assert (result.ttft_ms.mean, result.ttft_ms.p99, result.ttft_ms.count) == (550, 550, 1)
    assert result.inter_token_ms.count == 0
    assert result.prompt_tokens_per_s == pytest.approx(300 / 0.55)
    assert result.output_tokens_per_s == pytest.approx(1 / 0.55)
    assert result.steps[1].stage_spans_ms == [(110, 220), (220, 330), (330, 440)]
    assert [step.chunks for step in result.steps] == [[(0, 100, 100 * i)] for i in range(3)]
    assert result.requests[0].first_token_ms == result.requests[0].end_ms == 550
    assert result.requests[0].arrival_ms == 0


def test_steps_are_recorded_when_asked() -> None:
    pipeline = SimulatedPipeline([UNIT], max_num_batched_tokens=1000)
    policy = cpp_chunk.FixedPolicy(100)
    assert cpp_chunk.simulate(pipeline, [SimulatedRequest(300)], policy).steps == []


@pytest.mark.parametrize(
    ("chunk_tokens", "published_ms"), [(32768, 14896), (8192, 10121), (2048, 12286)]
)
def test_published_figures(chunk_tokens: int, published_ms: float) -> None:
    pipeline = SimulatedPipeline([KIMI] * 4, max_num_batched_tokens=32768, gap_ms=17.5)
    policy = cpp_chunk.FixedPolicy(chunk_tokens)
    result = cpp_chunk.simulate(pipeline, [SimulatedRequest(131072)], policy)
    assert result.ttft_ms.mean == pytest.approx(published_ms, rel=0.01)


def test_everything_at_once() -> None:
    # The closed loop lets one request in at a time. 50 of 100 prompt tokens are cached: 60 ms on
    # the first stage, 110 on the second, a gap of 1 on each and 5 + 50 * 0.1 between them, while
    # the sender is occupied. A decode takes 12, 5.1 and 13 ms.
    slow = cpp_chunk.LatencyModel(quadratic=0, cross=0, linear=2, context=0, constant=10)
    pipeline = SimulatedPipeline(
        [UNIT, slow],
        max_num_batched_tokens=1000,
        max_num_seqs=8,
        gap_ms=1.0,
        transfer_ms=5.0,
        transfer_ms_per_token=0.1,
        transfer_overlaps=False,
        max_in_flight=3,
        max_concurrency=1,
    )
    request = SimulatedRequest(100, arrival_ms=2.0, output_tokens=2, cached_tokens=50)
    result = cpp_chunk.simulate(pipeline, [request] * 2, cpp_chunk.FixedPolicy(1000))
    ttft_ms = 61 + 10 + 111
    inter_token_ms = 12 + 5.1 + 13
    assert result.ttft_ms.max == pytest.approx(ttft_ms)
    assert result.inter_token_ms.mean == pytest.approx(inter_token_ms)
    first, second = result.requests
    assert second.arrival_ms == first.end_ms == pytest.approx(2 + ttft_ms + inter_token_ms)


def test_values_can_be_read_back() -> None:
    pipeline = SimulatedPipeline([UNIT, KIMI], max_num_batched_tokens=10, max_concurrency=3)
    assert pipeline.stages == [UNIT, KIMI]
    assert (pipeline.max_num_batched_tokens, pipeline.max_num_seqs) == (10, 256)
    assert (pipeline.max_in_flight, pipeline.max_concurrency) == (2, 3)
    assert (pipeline.gap_ms, pipeline.transfer_ms, pipeline.transfer_ms_per_token) == (0, 0, 0)
    assert pipeline.transfer_overlaps
    request = SimulatedRequest(5, arrival_ms=1.5, output_tokens=2, cached_tokens=3)
    assert repr(request) == (
        "SimulatedRequest(5, arrival_ms=1.5, output_tokens=2, cached_tokens=3)"
    )
    assert (request.prompt_tokens, request.output_tokens) == (5, 2)
    assert (request.arrival_ms, request.cached_tokens) == (1.5, 3)


def test_a_policy_written_in_python() -> None:
    policy = Halves()
    pipeline = SimulatedPipeline([UNIT], max_num_batched_tokens=1000)
    requests = [SimulatedRequest(100, output_tokens=2), SimulatedRequest(61, arrival_ms=20.0)]
    result = cpp_chunk.simulate(pipeline, requests, policy)
    assert policy.calls == [
        ("backlog", [(100, 0)], 0),
        ("step",),
        ("add", 50, 0),
        ("measured", 50, 0, 60),
        ("backlog", [(50, 50), (61, 0)], 1),
        ("step",),
        ("add", 50, 50),
        ("add", 31, 0),
        ("measured", 81, 2500, 91),
        ("backlog", [(30, 31)], 1),
        ("step",),
        ("add", 1, 100),
        ("add", 30, 31),
        ("measured", 31, 1030, 41),
    ]
    assert result.makespan_ms == 60 + 91 + 41


def test_measured_may_be_left_out() -> None:
    class Whole(cpp_chunk.ChunkPolicy):
        def set_backlog(self, prompts: Sequence[tuple[int, int]], num_under_way: int) -> None:
            pass

        def begin_step(self) -> None:
            pass

        def chunk_tokens(
            self, remaining_tokens: int, num_computed_tokens: int, max_tokens: int
        ) -> int:
            return min(remaining_tokens, max_tokens)

        def add_chunk(self, num_tokens: int, num_computed_tokens: int) -> None:
            pass

    pipeline = SimulatedPipeline([UNIT], max_num_batched_tokens=1000)
    assert cpp_chunk.simulate(pipeline, [SimulatedRequest(100)], Whole()).makespan_ms == 110


def test_a_policy_must_be_whole() -> None:
    class Nothing(cpp_chunk.ChunkPolicy):
        pass

    pipeline = SimulatedPipeline([UNIT], max_num_batched_tokens=1000)
    with pytest.raises(NotImplementedError, match="set_backlog"):
        cpp_chunk.simulate(pipeline, [SimulatedRequest(100)], Nothing())
    with pytest.raises(NotImplementedError, match="begin_step"):
        Nothing().begin_step()


def test_errors_of_a_policy_come_through() -> None:
    class Broken(Halves):
        def begin_step(self) -> None:
            raise KeyError("broken")

    pipeline = SimulatedPipeline([UNIT], max_num_batched_tokens=1000)
    with pytest.raises(KeyError, match="broken"):
        cpp_chunk.simulate(pipeline, [SimulatedRequest(100)], Broken())


@pytest.mark.parametrize("answer", [-1, 101, 10**12, 10**30, 1.5, math.nan, None, "50", [1]])
def test_bad_answers_of_a_policy_are_refused(answer: object) -> None:
    pipeline = SimulatedPipeline([UNIT], max_num_batched_tokens=1000)
    with pytest.raises(cpp_chunk.InvalidArgument, match="the policy's chunk_tokens must return"):
        cpp_chunk.simulate(pipeline, [SimulatedRequest(100)], Answers(answer))


def test_a_policy_that_gives_nothing_is_refused() -> None:
    pipeline = SimulatedPipeline([UNIT], max_num_batched_tokens=1000)
    with pytest.raises(cpp_chunk.InvalidArgument, match="gave no tokens"):
        cpp_chunk.simulate(pipeline, [SimulatedRequest(100)], Answers(0))


@pytest.mark.parametrize(
    "native",
    [
        cpp_chunk.FixedPolicy,
        cpp_chunk.SglangPolicy,
        cpp_chunk.VllmAscendPolicy,
        cpp_chunk.AtomPolicy,
        cpp_chunk.TerapipePolicy,
        cpp_chunk.ChunkPlanner,
        cpp_chunk.LatencyModel,
    ],
)
def test_what_would_not_be_called_cannot_be_overridden(native: type) -> None:
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Mine", (native,), {"chunk_tokens": lambda *_: 1})


class Interrupted(Exception):  # noqa: N818
    pass


@pytest.fixture
def interrupting_alarm() -> Iterator[None]:
    """What Ctrl-C is, but from a timer and with an error of its own."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("interrupting_alarm")
def test_a_long_run_can_be_interrupted() -> None:
    def run() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        cpp_chunk.simulate(pipeline, [SimulatedRequest(10**12)], cpp_chunk.FixedPolicy(1))

    # Left alone it goes on for 10^8 steps, and is refused then.
    pipeline = SimulatedPipeline([UNIT], max_num_batched_tokens=1)
    with pytest.raises(Interrupted):
        run()


def test_native_policies_can_be_called() -> None:
    policy = cpp_chunk.FixedPolicy(100)
    policy.set_backlog([(500, 0)], 0)
    policy.begin_step()
    assert policy.chunk_tokens(500, 0, 1000) == 100
    policy.add_chunk(num_tokens=30, num_computed_tokens=0)
    assert policy.chunk_tokens(remaining_tokens=500, num_computed_tokens=30, max_tokens=50) == 50
    with pytest.raises(cpp_chunk.InvalidArgument):
        policy.chunk_tokens(-1, 0, 10)
    with pytest.raises(cpp_chunk.InvalidArgument):
        policy.add_chunk(1, 10**13)
    with pytest.raises(cpp_chunk.InvalidArgument):
        policy.set_backlog([(500, -1)], 0)
    with pytest.raises(cpp_chunk.InvalidArgument, match="num_under_way"):
        policy.set_backlog([(500, 0)], 2)
    with pytest.raises(TypeError):
        policy.set_backlog([500], 0)  # type: ignore[list-item]


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt_tokens": 0},
        {"prompt_tokens": -5},
        {"prompt_tokens": 10**13},
        {"arrival_ms": math.nan},
        {"arrival_ms": -1.0},
        {"arrival_ms": math.inf},
        {"output_tokens": 0},
        {"output_tokens": 10**12},
        {"cached_tokens": -1},
        {"cached_tokens": 101},
    ],
)
def test_bad_requests_are_refused(wrong: dict[str, float]) -> None:
    request = SimulatedRequest(**({"prompt_tokens": 100} | wrong))  # type: ignore[arg-type]
    pipeline = SimulatedPipeline([UNIT], max_num_batched_tokens=1000)
    with pytest.raises(cpp_chunk.InvalidArgument, match=next(iter(wrong))):
        cpp_chunk.simulate(pipeline, [request], cpp_chunk.FixedPolicy(100))


def test_no_requests_are_refused() -> None:
    pipeline = SimulatedPipeline([UNIT], max_num_batched_tokens=1000)
    with pytest.raises(cpp_chunk.InvalidArgument, match="number of requests"):
        cpp_chunk.simulate(pipeline, [], cpp_chunk.FixedPolicy(100))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_num_batched_tokens": 0},
        {"max_num_seqs": 0},
        {"gap_ms": math.nan},
        {"transfer_ms": -1.0},
        {"transfer_ms_per_token": math.inf},
        {"max_in_flight": 0},
        {"max_concurrency": -1},
    ],
)
def test_bad_pipelines_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(cpp_chunk.InvalidArgument, match=next(iter(wrong))):
        SimulatedPipeline([UNIT], **({"max_num_batched_tokens": 1000} | wrong))  # type: ignore[arg-type]


def test_a_pipeline_has_stages() -> None:
    with pytest.raises(cpp_chunk.InvalidArgument, match="number of stages"):
        SimulatedPipeline([], max_num_batched_tokens=1000)


def test_published_chunks_of_atom() -> None:
    pipeline = SimulatedPipeline([KIMI] * 4, max_num_batched_tokens=32768)
    policy = cpp_chunk.AtomPolicy(KIMI, 32768, smooth_factor=1.0)
    result = cpp_chunk.simulate(pipeline, [SimulatedRequest(131072)], policy, record_steps=True)
    assert [step.chunks[0][1] for step in result.steps] == [
        *(32768, 16192, 12416, 10368, 9088, 8192, 7488, 6912, 6464, 6080, 5760, 5504, 3840)
    ]


@pytest.mark.parametrize("num_stages", [1, 2, 4, 8, 16])
def test_the_oracle_is_beaten_by_none(num_stages: int) -> None:
    stages = [KIMI] * num_stages
    pipeline = SimulatedPipeline(stages, max_num_batched_tokens=32768, max_in_flight=1000)
    plan = cpp_chunk.terapipe_plan(stages, 131072, max_chunk_tokens=32768, granule_tokens=64)
    assert sum(plan.chunks) == 131072
    oracle = cpp_chunk.TerapipePolicy(stages, max_chunk_tokens=32768, granule_tokens=64)
    requests = [SimulatedRequest(131072)]
    best_ms = cpp_chunk.simulate(pipeline, requests, oracle).makespan_ms
    assert best_ms == pytest.approx(plan.makespan_ms)
    policies: list[cpp_chunk.ChunkPolicy] = []
    for base in (32768, 16384, 8192, 4096):
        policies += [
            cpp_chunk.FixedPolicy(base),
            cpp_chunk.SglangPolicy(KIMI, base),
            cpp_chunk.AtomPolicy(KIMI, base),
            cpp_chunk.VllmAscendPolicy(KIMI, base),
        ]
    for policy in policies:
        makespan_ms = cpp_chunk.simulate(pipeline, requests, policy).makespan_ms
        assert makespan_ms >= best_ms * (1 - 1e-9)


def test_the_oracle_refuses_unequal_stages() -> None:
    with pytest.raises(cpp_chunk.InvalidArgument, match="equal"):
        cpp_chunk.terapipe_plan([UNIT, KIMI], 100, max_chunk_tokens=10, granule_tokens=1)
    with pytest.raises(cpp_chunk.InvalidArgument, match="granule_tokens"):
        cpp_chunk.TerapipePolicy([KIMI], max_chunk_tokens=10, granule_tokens=0)


def test_the_planner_is_a_policy() -> None:
    stages = [KIMI] * 4
    pipeline = SimulatedPipeline(stages, max_num_batched_tokens=32768)
    planner = cpp_chunk.ChunkPlanner(
        stages, max_chunk_tokens=32768, min_chunk_tokens=256, alignment=128
    )
    assert isinstance(planner, cpp_chunk.ChunkPolicy)
    requests = [SimulatedRequest(131072)]
    ours = cpp_chunk.simulate(pipeline, requests, planner)
    fixed = cpp_chunk.simulate(pipeline, requests, cpp_chunk.FixedPolicy(8192))
    assert ours.makespan_ms < fixed.makespan_ms


def test_the_ascend_rule_learns() -> None:
    pipeline = SimulatedPipeline([KIMI] * 2, max_num_batched_tokens=32768)
    policy = cpp_chunk.VllmAscendPolicy(KIMI, 32768, min_chunk_tokens=128)
    target_ms = policy.target_ms
    assert not policy.is_fitted
    requests = [SimulatedRequest(131072), SimulatedRequest(131072)]
    cpp_chunk.simulate(pipeline, requests, policy)
    assert policy.is_fitted
    assert policy.target_ms == target_ms  # fewer than three steps without history


def test_short_requests_spoil_the_ascend_rule() -> None:
    # The first three steps without history set the target, whatever they hold.
    pipeline = SimulatedPipeline([KIMI] * 2, max_num_batched_tokens=32768)
    policy = cpp_chunk.VllmAscendPolicy(KIMI, 32768)
    short = [SimulatedRequest(200, arrival_ms=1000.0 * i) for i in range(3)]
    cpp_chunk.simulate(pipeline, short, policy)
    assert policy.target_ms == pytest.approx(KIMI.step_ms([(200, 0)]))


@pytest.mark.parametrize("value", [math.nan, -0.1, 1.1])
def test_rules_refuse_bad_smoothing(value: float) -> None:
    for policy in (cpp_chunk.SglangPolicy, cpp_chunk.VllmAscendPolicy, cpp_chunk.AtomPolicy):
        with pytest.raises(cpp_chunk.InvalidArgument, match="smooth_factor"):
            policy(KIMI, 4096, smooth_factor=value)


def test_requests_of_a_step_are_served_in_order() -> None:
    pipeline = SimulatedPipeline([KIMI] * 3, max_num_batched_tokens=2048, max_num_seqs=16)
    requests = [
        SimulatedRequest(100 + 700 * i % 5000, arrival_ms=10.0 * i, output_tokens=1 + i % 9)
        for i in range(100)
    ]
    result = cpp_chunk.simulate(pipeline, requests, cpp_chunk.FixedPolicy(2048), record_steps=True)
    for step in result.steps:
        indices = [index for index, _, _ in step.chunks]
        assert indices == sorted(indices)
        assert sum(num_tokens for _, num_tokens, _ in step.chunks) <= 2048
    ends = [span[-1][1] for span in (step.stage_spans_ms for step in result.steps)]
    assert all(before <= after for before, after in pairwise(ends))
    assert result.inter_token_ms.count == sum(i % 9 for i in range(100))


# (prompt tokens, output tokens, arrival in ms) of each request; 256 may be under way at once.
DECODES_THAT_GROW = {
    "256 of 4000, 500 out": [(4000, 500, 0.0)] * 256,
    "512 of 1000, 1000 out": [(1000, 1000, 0.0)] * 512,
    "128k, 256 decodes that came after it": [(131072, 1, 0.0), *[(200, 1000, 1.0)] * 256],
}


@pytest.mark.parametrize("name", DECODES_THAT_GROW)
def test_decodes_that_grow_do_not_starve_prefills(name: str) -> None:
    """The target is weighed when decodes have become more, not only when somebody joins."""
    stages = [KIMI.with_overhead(17.5)] * 2
    requests = [
        cpp_chunk.SimulatedRequest(prompt, output_tokens=output, arrival_ms=arrival_ms)
        for prompt, output, arrival_ms in DECODES_THAT_GROW[name]
    ]
    pipeline = cpp_chunk.SimulatedPipeline(stages, max_num_batched_tokens=8192)

    def ttfts_ms(policy: cpp_chunk.ChunkPolicy) -> tuple[float, float]:
        """The mean, and that of the first prompt: the only long one, if there is one."""
        result = cpp_chunk.simulate(pipeline, requests, policy)
        first = result.requests[0]
        return result.ttft_ms.mean, first.first_token_ms - first.arrival_ms

    planner = cpp_chunk.ChunkPlanner(stages, max_chunk_tokens=8192, alignment=16)
    fixed = [ttfts_ms(cpp_chunk.FixedPolicy(size)) for size in (512, 1024, 2048, 4096, 8192)]
    mean_ms, first_ms = ttfts_ms(planner)
    assert mean_ms <= 1.05 * min(mean for mean, _ in fixed)
    if name.startswith("128k"):
        # 256 short ones are nearly all of the mean.
        assert first_ms <= 1.05 * min(first for _, first in fixed)


@pytest.mark.parametrize("cap", [2048, 512])
def test_where_full_steps_are_best_the_planner_gives_them(cap: int) -> None:
    """Many long prompts, and a cap far below what a step of best length would hold."""
    stages = [KIMI.with_overhead(17.5)] * 4
    pipeline = cpp_chunk.SimulatedPipeline(stages, max_num_batched_tokens=cap, max_concurrency=64)
    requests = [cpp_chunk.SimulatedRequest(131072)] * 200
    planner = cpp_chunk.ChunkPlanner(stages, max_chunk_tokens=cap)
    ours = cpp_chunk.simulate(pipeline, requests, planner)
    fixed = cpp_chunk.simulate(pipeline, requests, cpp_chunk.FixedPolicy(cap))
    assert ours.makespan_ms <= 1.005 * fixed.makespan_ms
    assert ours.ttft_ms.mean <= 1.005 * fixed.ttft_ms.mean


@pytest.mark.parametrize(("prompts", "cap"), [([(10_000_000, 0)] * 64, 512), ([(10**12, 0)], 1)])
def test_a_target_does_not_cost_a_visit_to_each_step(
    prompts: list[tuple[int, int]], cap: int
) -> None:
    """It takes about 1 ms; a walk over 10**6 steps, or 10**12, would take a second or for good."""
    stages = [KIMI.with_overhead(17.5)] * 4
    begin_s = time.perf_counter()
    assert cpp_chunk.best_target_ms(stages, prompts, max_chunk_tokens=cap) > 0
    assert time.perf_counter() - begin_s < 1.0
