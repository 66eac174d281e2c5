"""Native core of cpp_chunk: latency model, fit, planner, calibrator, simulator."""

import collections.abc
import typing

__all__: list[str] = [
    "MAX_TOLD_PROMPTS",
    "TELL_EVERY_STEPS",
    "AtomPolicy",
    "Calibrator",
    "ChunkPlanner",
    "ChunkPolicy",
    "ChunkSolver",
    "Distribution",
    "Error",
    "FitRefused",
    "FitReport",
    "FixedPolicy",
    "InvalidArgument",
    "LatencyModel",
    "LayerSplit",
    "Plan",
    "ProfileSpace",
    "RequestTimes",
    "SglangPolicy",
    "SimulatedPipeline",
    "SimulatedRequest",
    "SimulatedStep",
    "SimulationResult",
    "StepFeatures",
    "TerapipePolicy",
    "VllmAscendPolicy",
    "base_target_ms",
    "best_layer_split",
    "best_target_ms",
    "default_layer_split",
    "fit_latency_model",
    "makespan_bound_ms",
    "next_passes",
    "plan_chunks",
    "plan_fixed_chunks",
    "scouting_passes",
    "simulate",
    "terapipe_plan",
]

class Error(Exception):
    """Root of every error of cpp_chunk."""

class InvalidArgument(Error, ValueError):
    """An argument is outside of what its function documents. `field` is its name, `value` what it was, as the message shows it."""

    field: typing.ClassVar[str] = ""
    value: typing.ClassVar[str] = ""

class FitRefused(Error, ValueError):
    """The measured steps do not carry a latency model. `reason` is one of too_few_points, single_chunk_size, no_history, rank_deficient, bad_residual."""

    reason: typing.ClassVar[str] = ""

class LatencyModel:
    """Latency of one step on one pipeline stage.

    t = quadratic*sum(x^2/2) + cross*sum(x*h) + linear*sum(x) + context*sum(h) + constant

    in milliseconds, over the step's chunks of x = num_tokens new tokens after h = num_computed_tokens
    computed ones. Immutable.
    """
    def __eq__(self, other: object) -> bool: ...
    def __getstate__(self) -> tuple[float, float, float, float, float]: ...
    def __hash__(self) -> int: ...
    def __init__(
        self,
        *,
        quadratic: typing.SupportsFloat | typing.SupportsIndex,
        cross: typing.SupportsFloat | typing.SupportsIndex,
        linear: typing.SupportsFloat | typing.SupportsIndex,
        context: typing.SupportsFloat | typing.SupportsIndex,
        constant: typing.SupportsFloat | typing.SupportsIndex,
    ) -> None:
        """Make a model from its coefficients, all finite and >= 0.

        quadratic, cross: ms per token^2; linear, context: ms per token; constant: ms per step.
        Raises InvalidArgument naming the coefficient and its value.
        """
    def __setstate__(
        self,
        arg0: tuple[
            typing.SupportsFloat | typing.SupportsIndex,
            typing.SupportsFloat | typing.SupportsIndex,
            typing.SupportsFloat | typing.SupportsIndex,
            typing.SupportsFloat | typing.SupportsIndex,
            typing.SupportsFloat | typing.SupportsIndex,
        ],
    ) -> None: ...
    def scaled(self, factor: typing.SupportsFloat | typing.SupportsIndex) -> LatencyModel:
        """The model of a stage on which everything takes factor times as long.

        Raises InvalidArgument unless factor is finite and >= 0.
        """
    def step_ms(
        self,
        chunks: collections.abc.Sequence[
            tuple[
                typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex
            ]
        ],
    ) -> float:
        """Predicted time of a step in ms.

        chunks: [(num_tokens, num_computed_tokens), ...]; none at all costs the constant.
        Raises InvalidArgument for token counts that are negative or above 10^12.
        """
    def with_overhead(
        self, overhead_ms: typing.SupportsFloat | typing.SupportsIndex
    ) -> LatencyModel:
        """The model of steps that each take overhead_ms longer, such as the engine's gap.

        Raises InvalidArgument unless overhead_ms is finite and >= 0.
        """
    @property
    def constant(self) -> float:
        """ms per step."""
    @property
    def context(self) -> float:
        """ms per computed token before a chunk."""
    @property
    def cross(self) -> float:
        """ms per token^2 on sum(num_tokens * num_computed_tokens)."""
    @property
    def linear(self) -> float:
        """ms per new token."""
    @property
    def quadratic(self) -> float:
        """ms per token^2 on sum(num_tokens^2 / 2)."""

class FitReport:
    """A fitted latency model and how far to trust it."""
    @property
    def at_bound(self) -> tuple[str, ...]:
        """Names of the coefficients that ended at 0."""
    @property
    def condition_number(self) -> float:
        """Condition number of the scaled columns, inliers only."""
    @property
    def mean_relative_error(self) -> float:
        """Mean of |predicted/measured - 1|, weighted by inlierness."""
    @property
    def model(self) -> LatencyModel:
        """The fitted LatencyModel."""
    @property
    def num_outliers(self) -> int:
        """Measured steps that got no weight."""
    @property
    def num_points(self) -> int:
        """Measured steps given."""
    @property
    def p95_relative_error(self) -> float:
        """95th percentile of |predicted/measured - 1| over the inliers."""

class ChunkSolver:
    """Chooses chunks so that steps take equal time.

    One step at a time: begin_step, then for each request add_chunk alone (decodes) or chunk_tokens
    followed by add_chunk. Not thread-safe.
    """
    def __init__(
        self,
        model: LatencyModel,
        *,
        max_chunk_tokens: typing.SupportsInt | typing.SupportsIndex,
        min_chunk_tokens: typing.SupportsInt | typing.SupportsIndex = 1,
        alignment: typing.SupportsInt | typing.SupportsIndex = 1,
        preferred_multiples: collections.abc.Sequence[
            typing.SupportsInt | typing.SupportsIndex
        ] = [],
        max_step_ms: typing.SupportsFloat | typing.SupportsIndex = ...,
        smooth_factor: typing.SupportsFloat | typing.SupportsIndex = 1.0,
        base_chunk_tokens: typing.SupportsInt | typing.SupportsIndex | None = None,
    ) -> None:
        """Make a solver for a model and an engine's limits, in tokens.

        max_chunk_tokens: cap of every chunk; min_chunk_tokens: floor of the first chunk of a step;
        alignment: chunks end on multiples of it, but for a prompt's last; preferred_multiples: what a
        chunk's size should be a multiple of where these are small beside it; max_step_ms: no chunk makes
        a step longer, but for one alignment step where a prompt would not move on otherwise.
        smooth_factor in [0, 1]: first chunks are base + smooth_factor * (solved - base); 0 is fixed
        chunking. base_chunk_tokens: by default max_chunk_tokens.
        Raises InvalidArgument when they contradict each other.
        """
    def add_chunk(
        self,
        num_tokens: typing.SupportsInt | typing.SupportsIndex,
        num_computed_tokens: typing.SupportsInt | typing.SupportsIndex,
    ) -> None:
        """Put a chunk into the step, whoever chose it; one token counts as a decode.

        Raises InvalidArgument for counts that are negative or above 10^12.
        """
    def begin_step(self, target_ms: typing.SupportsFloat | typing.SupportsIndex) -> None:
        """Start a new step of target_ms, the constant included.

        Raises InvalidArgument for NaN or a negative time; infinity means that only the caps hold.
        """
    def chunk_tokens(
        self,
        remaining_tokens: typing.SupportsInt | typing.SupportsIndex,
        num_computed_tokens: typing.SupportsInt | typing.SupportsIndex,
        max_tokens: typing.SupportsInt | typing.SupportsIndex,
    ) -> int:
        """Chunk, in tokens, for a request in the step as it stands; commits nothing.

        remaining_tokens: of the prompt; num_computed_tokens: before them; max_tokens: what the engine
        still admits to this step. 0 when the step is full; never 0 in a step that holds nothing but
        decodes, unless nothing remains or is admitted.
        Raises InvalidArgument for counts that are negative or above 10^12, or before begin_step.
        """
    @property
    def step_ms(self) -> float:
        """Predicted time of the step so far in ms, the constant included."""

class Plan:
    """How one prompt goes through an otherwise idle pipeline."""
    @property
    def chunks(self) -> list[int]:
        """Tokens of each step, in order."""
    @property
    def makespan_ms(self) -> float:
        """Time until the last step leaves the last stage, in ms: the time to first token of a lone prompt."""
    @property
    def step_targets_ms(self) -> list[float]:
        """Step times aimed at on the slowest stage, in ms, the constant included: one for all steps, or a row of which the last holds for all that follow."""
    @property
    def target_ms(self) -> float:
        """The longest of step_targets_ms."""

class LayerSplit:
    """How many of a model's layers each stage gets (VLLM_PP_LAYER_PARTITION)."""
    @property
    def layers(self) -> list[int]:
        """Layers of each stage, in order."""
    @property
    def makespan_before_ms(self) -> float:
        """The same with the layers that the stages were measured with."""
    @property
    def makespan_ms(self) -> float:
        """Time to first token of the prompt with these layers, in ms."""

class Calibrator:
    """Refits a latency model over a profile and the last measured steps."""
    def __init__(
        self,
        profile_samples: collections.abc.Sequence[
            tuple[
                collections.abc.Sequence[
                    tuple[
                        typing.SupportsInt | typing.SupportsIndex,
                        typing.SupportsInt | typing.SupportsIndex,
                    ]
                ],
                typing.SupportsFloat | typing.SupportsIndex,
            ]
        ],
        *,
        capacity: typing.SupportsInt | typing.SupportsIndex,
    ) -> None:
        """Keep a profile, [(chunks, latency_ms), ...], and room for `capacity` recent steps.

        The profile is the prior of every refit: what recent steps do not tell, it does, up to a common
        factor. Recent steps count more than old ones; those before a drift are forgotten.

        Raises InvalidArgument for an unusable profile sample or a capacity outside [1, 10^6].
        """
    def add(
        self,
        chunks: collections.abc.Sequence[
            tuple[
                typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex
            ]
        ],
        latency_ms: typing.SupportsFloat | typing.SupportsIndex,
    ) -> bool:
        """Remember a measured step, in place of the oldest when full.

        chunks: [(num_tokens, num_computed_tokens), ...]; latency_ms: of one stage.
        False when the sample is unusable (no tokens, negative ones, latency not finite and > 0): it is
        counted in num_rejected and dropped.
        """
    def refit(self) -> FitReport:
        """Fit profile and recent steps together. Raises FitRefused; see fit_latency_model.

        Lets other Python threads run meanwhile; until it returns, this object is not to be used.
        """
    @property
    def capacity(self) -> int:
        """Most recent steps kept."""
    @property
    def num_drifts(self) -> int:
        """How often steps drifted from the model and it followed."""
    @property
    def num_recent(self) -> int:
        """Recent steps held now."""
    @property
    def num_rejected(self) -> int:
        """Unusable samples dropped so far."""
    @property
    def scale(self) -> float:
        """Recent step times over the profile's; 1 while nothing is known."""

class StepFeatures:
    """What the latency of a step depends on, summed over its chunks."""
    @property
    def context_sum(self) -> float:
        """sum(num_computed_tokens)."""
    @property
    def cross_sum(self) -> float:
        """sum(num_tokens * num_computed_tokens), in tokens^2."""
    @property
    def half_square_sum(self) -> float:
        """sum(num_tokens^2 / 2), in tokens^2."""
    @property
    def token_sum(self) -> float:
        """sum(num_tokens)."""

class ChunkPolicy:
    """Who decides how many tokens each prefill gets in a step.

    To be subclassed; __init__ must call super().__init__(). A scheduler calls, in this order:
    set_decodes and set_backlog when requests have come, gone, or ended their prefill since the last
    step; begin_step; then, first come first served, chunk_tokens followed by add_chunk for every
    prefill, and add_chunk alone for every decode; step_scheduled once the step is complete; step_left,
    and measured, once it has left the last stage. What was asked and added counts for the step under way
    alone: what is done is what step_scheduled says.
    set_decodes, step_scheduled, step_left and measured need not be there.
    """
    def __init__(self) -> None: ...
    def add_chunk(self, num_tokens: int, num_computed_tokens: int) -> None:
        """The step now holds this chunk as well, whoever chose it; one token is a decode."""
    def begin_step(self) -> None:
        """A new, empty step."""
    def chunk_tokens(self, remaining_tokens: int, num_computed_tokens: int, max_tokens: int) -> int:
        """The chunk of a prompt in the step as it stands; commits nothing.

        max_tokens: what the engine still admits to the step. In [0, min(remaining_tokens, max_tokens)];
        0 leaves the prompt to a later step.
        """
    def measured(self, features: StepFeatures, latency_ms: float) -> None:
        """How long a step took on its slowest stage, for policies that learn while serving."""
    def set_backlog(
        self, prompts: collections.abc.Sequence[tuple[int, int]], num_under_way: int
    ) -> None:
        """What waits or is part-way before the next step.

        prompts: [(remaining_tokens, num_computed_tokens), ...], those under way first, then those that
        wait, first come first; num_under_way: how many of them, from the front, have chunks in earlier
        steps.
        """
    def set_decodes(self, num_decodes: int, num_computed_tokens: int, tokens_each: int = 1) -> None:
        """How many requests are past their prefill, and the sum of their histories.

        tokens_each: more than 1 with speculative tokens.
        """
    def step_left(self, step: int) -> None:
        """The step of this number has left the last stage, and so have all before it."""
    def step_scheduled(
        self, step: int, prefills: collections.abc.Sequence[tuple[int, int]]
    ) -> None:
        """A step went off, with this number; numbers rise.

        prefills: [(num_tokens, num_computed_tokens), ...], its chunks without the decodes.
        """

class ChunkPlanner(ChunkPolicy):
    """Chunks of the step times that suit the backlog: what serves in vLLM.

    The target is set when a prompt joins an idle pipeline, raised when the backlog or the decodes have
    grown, and falls only once the work that it was set for is done or has gone away. step_scheduled
    and step_left tell what is done, and when the pipeline is idle. Not thread-safe.
    """
    def __init__(
        self,
        stages: collections.abc.Sequence[LatencyModel],
        *,
        max_chunk_tokens: typing.SupportsInt | typing.SupportsIndex,
        min_chunk_tokens: typing.SupportsInt | typing.SupportsIndex = 1,
        alignment: typing.SupportsInt | typing.SupportsIndex = 1,
        preferred_multiples: collections.abc.Sequence[
            typing.SupportsInt | typing.SupportsIndex
        ] = [],
        max_step_ms: typing.SupportsFloat | typing.SupportsIndex = ...,
        smooth_factor: typing.SupportsFloat | typing.SupportsIndex = 1.0,
        target_ms: typing.SupportsFloat | typing.SupportsIndex | None = None,
        max_in_flight: typing.SupportsInt | typing.SupportsIndex | None = None,
    ) -> None:
        """Make a planner.

        stages: one LatencyModel for each, in order, with what a step costs beyond its compute (the
        engine's gap) in the constants. The limits are those of plan_chunks. smooth_factor in [0, 1]:
        first chunks are max_chunk_tokens + smooth_factor * (solved - max_chunk_tokens).
        target_ms: a step time to aim at whatever waits; None: the best one for the backlog.
        max_in_flight: steps scheduled that have not left the last stage; None: as many as stages.
        Raises InvalidArgument when these contradict each other.
        """
    def add_decodes(
        self,
        num_decodes: typing.SupportsInt | typing.SupportsIndex,
        num_computed_tokens: typing.SupportsInt | typing.SupportsIndex,
        tokens_each: typing.SupportsInt | typing.SupportsIndex = 1,
    ) -> None:
        """The step now holds this many decodes as well, with num_computed_tokens history in all.

        tokens_each: more than 1 with speculative tokens. Raises InvalidArgument for bad counts.
        """
    def set_stages(
        self,
        stages: collections.abc.Sequence[LatencyModel],
        target_ms: typing.SupportsFloat | typing.SupportsIndex | None = None,
    ) -> None:
        """Plan with other models from the next step on; the target stays for the present backlog, and
        as many steps stay in flight as before.

        Raises InvalidArgument for another number of stages.
        """
    def shared_chunk_tokens(
        self,
        remaining_tokens: int,
        num_computed_tokens: int,
        max_tokens: int,
        share: typing.SupportsFloat | typing.SupportsIndex,
    ) -> int:
        """chunk_tokens for a prompt that shall take no more than a part of the step's time.

        share: in (0, 1], of the target less the constant and what the step's decodes take. One alignment
        step of tokens it may have in any case.
        """
    @property
    def step_ms(self) -> float:
        """Predicted time of the step so far in ms, the constant included."""
    @property
    def target_ms(self) -> float:
        """Step time aimed at now, in ms, the constant included."""

class FixedPolicy(ChunkPolicy):
    """Chunks of one size: what vLLM does with max_num_batched_tokens set to it.

    A step's tokens, decodes included, share the size, first come first served.
    """
    def __init__(self, chunk_tokens: typing.SupportsInt | typing.SupportsIndex) -> None:
        """Make the policy. Raises InvalidArgument unless chunk_tokens is in [1, 10^12]."""

class SglangPolicy(ChunkPolicy):
    """SGLang's dynamic chunking.

    The first prefill of a step takes x with f(h + x) - f(h) = f(base) - f(0), f fitted to prefills
    without history; smoothed, at least a quarter of the base, rounded down to max(page, 64). The
    step's other prefills share what it leaves. Source: SGLang's documentation, "Pipeline Parallelism
    for Long Context", and its pull requests 15372, 16140, 23621 and 37674.
    """
    def __init__(
        self,
        model: LatencyModel,
        base_chunk_tokens: typing.SupportsInt | typing.SupportsIndex,
        *,
        smooth_factor: typing.SupportsFloat | typing.SupportsIndex = 0.75,
        page_tokens: typing.SupportsInt | typing.SupportsIndex = 64,
    ) -> None:
        """Make the policy for one stage's model and the engine's chunked_prefill_size.

        smooth_factor in [0, 1]: 0 is fixed chunks, 1 the solved ones. Raises InvalidArgument.
        """

class VllmAscendPolicy(ChunkPolicy):
    """vllm-ascend's profiling-based dynamic chunks, both phases.

    At first SGLang's rule; from 5 measured steps on, up to 30, a*C(C+H) + b*(C+H) + c fitted to them.
    The mean time of the first three steps without history overwrites the target. The target's budget
    runs down over a step's prefills; each is smoothed, at least min_chunk_tokens, and rounded up to
    max(block, 64). Source: vllm-ascend's design document "Dynamic Chunked Pipeline Parallel" and its
    pull requests 7896, 8769 and 10035.
    """
    def __init__(
        self,
        model: LatencyModel,
        base_chunk_tokens: typing.SupportsInt | typing.SupportsIndex,
        *,
        smooth_factor: typing.SupportsFloat | typing.SupportsIndex = 1.0,
        min_chunk_tokens: typing.SupportsInt | typing.SupportsIndex = 4096,
        block_tokens: typing.SupportsInt | typing.SupportsIndex = 128,
    ) -> None:
        """Make the policy for one stage's model and the engine's max_num_batched_tokens.

        Raises InvalidArgument unless smooth_factor is in [0, 1] and the counts are in [0, 10^12].
        """
    @property
    def is_fitted(self) -> bool:
        """Whether the second phase has begun."""
    @property
    def target_ms(self) -> float:
        """Step time aimed at, in ms."""

class AtomPolicy(ChunkPolicy):
    """ATOM's dynamic chunks.

    x solves t(L, x) = t(0, base) with t = c + gamma*L + b*x + a*(2*L*x + x^2); smoothed, not so small
    that c + gamma*L is more than max_overhead_share of its time, nor below min_chunk_tokens, at most
    the base, rounded down to max(block, 64). Only for a prompt that has been alone for
    num_recent_steps; otherwise steps hold base_chunk_tokens. Source: ROCm/ATOM pull request 2007.
    """
    def __init__(
        self,
        model: LatencyModel,
        base_chunk_tokens: typing.SupportsInt | typing.SupportsIndex,
        *,
        smooth_factor: typing.SupportsFloat | typing.SupportsIndex = 0.75,
        min_chunk_tokens: typing.SupportsInt | typing.SupportsIndex = 4096,
        block_tokens: typing.SupportsInt | typing.SupportsIndex = 64,
        max_overhead_share: typing.SupportsFloat | typing.SupportsIndex = 0.2,
        num_recent_steps: typing.SupportsInt | typing.SupportsIndex = 4,
    ) -> None:
        """Make the policy for one stage's model and the engine's max_num_batched_tokens.

        smooth_factor in [0, 1]; max_overhead_share in [0, 1], 1 for no such floor. Raises
        InvalidArgument.
        """

class TerapipePolicy(ChunkPolicy):
    """Follows terapipe_plan, made for each prompt as if it were alone.

    A planned chunk that does not fit beside another prompt's waits for the next step. Equal prompts
    share a plan; other lengths cost a plan each, which takes milliseconds to seconds.
    """
    def __init__(
        self,
        stages: collections.abc.Sequence[LatencyModel],
        *,
        max_chunk_tokens: typing.SupportsInt | typing.SupportsIndex,
        granule_tokens: typing.SupportsInt | typing.SupportsIndex,
    ) -> None:
        """Make the policy for equal stages, one model each.

        Raises InvalidArgument, while serving too, where terapipe_plan refuses, and for plans of more than
        10^6 chunks in all.
        """

class ProfileSpace:
    """What passes of a start-up profile may be."""
    def __init__(
        self,
        *,
        smallest_chunk_tokens: typing.SupportsInt | typing.SupportsIndex,
        max_chunk_tokens: typing.SupportsInt | typing.SupportsIndex,
        max_context_tokens: typing.SupportsInt | typing.SupportsIndex,
        alignment: typing.SupportsInt | typing.SupportsIndex = 1,
        longest_pass_ms: typing.SupportsFloat | typing.SupportsIndex = ...,
    ) -> None:
        """Chunks of smallest to max_chunk_tokens with a history, together up to max_context_tokens.

        Sizes and histories are multiples of alignment where they can be; no pass is chosen that is
        expected to take longer than longest_pass_ms, but where too few others are left for a fit.
        """

class SimulatedRequest:
    """One request of a simulated workload."""
    def __init__(
        self,
        prompt_tokens: typing.SupportsInt | typing.SupportsIndex,
        *,
        arrival_ms: typing.SupportsFloat | typing.SupportsIndex = 0.0,
        output_tokens: typing.SupportsInt | typing.SupportsIndex = 1,
        cached_tokens: typing.SupportsInt | typing.SupportsIndex = 0,
    ) -> None:
        """Describe a request; simulate checks it.

        prompt_tokens and output_tokens (the first of which comes from the prefill): >= 1; arrival_ms:
        >= 0; cached_tokens: prefix that the cache holds, of which at least one token is computed anew.
        """
    @property
    def arrival_ms(self) -> float:
        """When it is sent."""
    @property
    def cached_tokens(self) -> int:
        """Prefix of the prompt that the cache holds."""
    @property
    def output_tokens(self) -> int:
        """Tokens it gets."""
    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt."""

class SimulatedPipeline:
    """An engine with pipeline parallelism, as the simulator sees it."""
    def __init__(
        self,
        stages: collections.abc.Sequence[LatencyModel],
        *,
        max_num_batched_tokens: typing.SupportsInt | typing.SupportsIndex,
        max_num_seqs: typing.SupportsInt | typing.SupportsIndex = 256,
        gap_ms: typing.SupportsFloat | typing.SupportsIndex = 0.0,
        transfer_ms: typing.SupportsFloat | typing.SupportsIndex = 0.0,
        transfer_ms_per_token: typing.SupportsFloat | typing.SupportsIndex = 0.0,
        transfer_overlaps: bool = True,
        max_in_flight: typing.SupportsInt | typing.SupportsIndex | None = None,
        max_concurrency: typing.SupportsInt | typing.SupportsIndex | None = None,
    ) -> None:
        """Describe a pipeline.

        stages: one LatencyModel a stage, in order; max_num_batched_tokens: tokens that a step may hold;
        max_num_seqs: requests under way at once; gap_ms: the engine's cost of every step on every stage.
        A step takes transfer_ms + transfer_ms_per_token * tokens from one stage to the next; a link
        carries one at a time, and unless transfer_overlaps the sender stays occupied meanwhile.
        max_in_flight: steps scheduled that have not left the last stage, by default as many as stages.
        max_concurrency: for a closed loop, requests inside at once; the next enters when its arrival time
        has come and a place is free. By default all enter when they arrive.
        Raises InvalidArgument for an empty list, counts outside of [1, 10^12], or times that are not finite
        and >= 0.
        """
    @property
    def gap_ms(self) -> float:
        """The engine's cost of every step on every stage."""
    @property
    def max_concurrency(self) -> int | None:
        """Requests inside at once, or None."""
    @property
    def max_in_flight(self) -> int:
        """Steps scheduled that have not left the last stage."""
    @property
    def max_num_batched_tokens(self) -> int:
        """Tokens that a step may hold."""
    @property
    def max_num_seqs(self) -> int:
        """Requests under way at once."""
    @property
    def stages(self) -> list[LatencyModel]:
        """One LatencyModel a stage."""
    @property
    def transfer_ms(self) -> float:
        """From one stage to the next, for every step."""
    @property
    def transfer_ms_per_token(self) -> float:
        """From one stage to the next, for every token."""
    @property
    def transfer_overlaps(self) -> bool:
        """Whether a stage is free while it sends."""

class Distribution:
    """Times in brief, in ms; all 0 without any."""
    @property
    def count(self) -> int:
        """How many."""
    @property
    def max(self) -> float:
        """Largest."""
    @property
    def mean(self) -> float:
        """Mean."""
    @property
    def p50(self) -> float:
        """Median, between the two nearest values."""
    @property
    def p90(self) -> float:
        """90th percentile."""
    @property
    def p99(self) -> float:
        """99th percentile."""

class RequestTimes:
    """When a request came and what it got, in ms from the start."""
    @property
    def arrival_ms(self) -> float:
        """When it entered: in a closed loop, when a place was free for it."""
    @property
    def end_ms(self) -> float:
        """When its last token came."""
    @property
    def first_token_ms(self) -> float:
        """When the step with its last prefill chunk left the last stage."""

class SimulatedStep:
    """One step, for the trace."""
    @property
    def chunks(self) -> list[tuple[int, int, int]]:
        """[(request_index, num_tokens, num_computed_tokens), ...]."""
    @property
    def stage_spans_ms(self) -> list[tuple[float, float]]:
        """[(start_ms, end_ms), ...], one a stage, the gap included."""

class SimulationResult:
    """What came of a simulated workload."""
    @property
    def bubble_share(self) -> list[float]:
        """Of each stage, 1 - busy / (last end - first start)."""
    @property
    def inter_token_ms(self) -> Distribution:
        """Distribution of the time to each token after a request's first."""
    @property
    def makespan_ms(self) -> float:
        """From the first arrival to the last token."""
    @property
    def num_steps(self) -> int:
        """Steps taken."""
    @property
    def output_tokens_per_s(self) -> float:
        """Output tokens a second."""
    @property
    def prompt_tokens_per_s(self) -> float:
        """Prompt tokens computed a second; prefix hits are left out."""
    @property
    def requests(self) -> list[RequestTimes]:
        """RequestTimes in the order the requests were given."""
    @property
    def steps(self) -> list[SimulatedStep]:
        """SimulatedSteps, if recorded."""
    @property
    def ttft_ms(self) -> Distribution:
        """Distribution of first_token_ms - arrival_ms, one value a request."""

def base_target_ms(
    model: LatencyModel, base_chunk_tokens: typing.SupportsInt | typing.SupportsIndex
) -> float:
    """Step time, in ms and with the constant, of the published rule f(base) - f(0).

    f is the time of a step of one chunk without history. Raises InvalidArgument unless
    1 <= base_chunk_tokens <= 10^12.
    """

def best_layer_split(
    stages: collections.abc.Sequence[LatencyModel],
    prompt_tokens: typing.SupportsInt | typing.SupportsIndex,
    layers: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex],
    *,
    max_chunk_tokens: typing.SupportsInt | typing.SupportsIndex,
    min_chunk_tokens: typing.SupportsInt | typing.SupportsIndex = 1,
    alignment: typing.SupportsInt | typing.SupportsIndex = 1,
    preferred_multiples: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] = [],
    max_step_ms: typing.SupportsFloat | typing.SupportsIndex = ...,
) -> LayerSplit:
    """The layer split that evens the stages out for a prompt, and what it would bring.

    layers: of each stage, when its model was measured. A layer is taken to cost what its stage's
    layers cost on average. The layers are returned as given when nothing is better.
    Raises InvalidArgument for counts below 1, or not one count for each stage.
    """

def best_target_ms(
    stages: collections.abc.Sequence[LatencyModel],
    prompts: collections.abc.Sequence[
        tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]
    ],
    *,
    max_chunk_tokens: typing.SupportsInt | typing.SupportsIndex,
    min_chunk_tokens: typing.SupportsInt | typing.SupportsIndex = 1,
    alignment: typing.SupportsInt | typing.SupportsIndex = 1,
    preferred_multiples: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] = [],
    max_step_ms: typing.SupportsFloat | typing.SupportsIndex = ...,
    max_in_flight: typing.SupportsInt | typing.SupportsIndex | None = None,
) -> float:
    """Step time, in ms and with the constant, that gets a backlog through the pipeline soonest.

    stages: one LatencyModel for each, in order; the time is that on the slowest of them, and of the
    longest step where stages are unequal. prompts: [(remaining_tokens, num_computed_tokens), ...],
    taken as one flow, in order. max_chunk_tokens: tokens that a step may hold. max_in_flight: steps
    scheduled that have not left the last stage, by default as many as stages.
    Minimises the flow shop's makespan, sum(t) + (S-1) * max(t) for S equal stages and times that never
    fall, over real plans, within a bounded time.
    Raises InvalidArgument for an empty backlog, bad counts, or limits that contradict each other.
    """

def default_layer_split(
    num_layers: typing.SupportsInt | typing.SupportsIndex,
    num_stages: typing.SupportsInt | typing.SupportsIndex,
) -> list[int]:
    """Layers of each stage as vLLM splits them without VLLM_PP_LAYER_PARTITION.

    Equal shares; what is left over goes to the stages before the last, one each.
    Raises InvalidArgument unless 1 <= num_stages <= num_layers.
    """

def fit_latency_model(
    samples: collections.abc.Sequence[
        tuple[
            collections.abc.Sequence[
                tuple[
                    typing.SupportsInt | typing.SupportsIndex,
                    typing.SupportsInt | typing.SupportsIndex,
                ]
            ],
            typing.SupportsFloat | typing.SupportsIndex,
        ]
    ],
) -> FitReport:
    """Fit a latency model to measured steps: least squares on relative errors, non-negative,
    robust against outliers.

    samples: [(chunks, latency_ms), ...] with chunks [(num_tokens, num_computed_tokens), ...]; at
    least 8, of several chunk sizes (three or more, if alone in their steps) and histories.
    Raises InvalidArgument for a sample without tokens, with negative ones, or with a latency_ms that
    is not finite and > 0; FitRefused, with its `reason`, when the samples do not carry a model.
    """

def makespan_bound_ms(
    stages: collections.abc.Sequence[LatencyModel],
    prompts: collections.abc.Sequence[
        tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]
    ],
) -> float:
    """A time, in ms, that no steps take less than to bring a backlog through the stages.

    Whatever the sizes, without alignment or cap. For S equal stages, work W that no cut changes and a
    constant c this is (sqrt(W) + sqrt((S-1)*c))^2; where history costs (context > 0) it is a little below
    what can be reached, of unequal stages well below.
    stages: one LatencyModel for each; prompts: [(remaining_tokens, num_computed_tokens), ...].
    Raises InvalidArgument for an empty backlog or bad counts.
    """

def next_passes(
    space: ProfileSpace,
    measured: collections.abc.Sequence[
        tuple[
            tuple[
                typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex
            ],
            typing.SupportsFloat | typing.SupportsIndex,
        ]
    ],
    *,
    num_new: typing.SupportsInt | typing.SupportsIndex,
    num_repeats: typing.SupportsInt | typing.SupportsIndex = 0,
) -> list[tuple[int, int]]:
    """The passes that tell most beside those that were measured: an optimal (I-optimal) design.

    measured: [((num_tokens, num_computed_tokens), latency_ms), ...], at least one.
    num_new: passes that differ from all measured ones; num_repeats: such as were measured once and are
    furthest from what the others say. Returns new passes, then repeats, as [(num_tokens, num_computed_tokens), ...];
    fewer where the space has no more. Raises InvalidArgument for a space without room or an unusable pass.
    """

def plan_chunks(
    stages: collections.abc.Sequence[LatencyModel],
    prompt_tokens: typing.SupportsInt | typing.SupportsIndex,
    *,
    max_chunk_tokens: typing.SupportsInt | typing.SupportsIndex,
    min_chunk_tokens: typing.SupportsInt | typing.SupportsIndex = 1,
    alignment: typing.SupportsInt | typing.SupportsIndex = 1,
    preferred_multiples: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex] = [],
    max_step_ms: typing.SupportsFloat | typing.SupportsIndex = ...,
    num_computed_tokens: typing.SupportsInt | typing.SupportsIndex = 0,
    max_in_flight: typing.SupportsInt | typing.SupportsIndex | None = None,
) -> Plan:
    """Plan one prompt: the best step times, then the chunks that serving would choose for it.

    stages: one LatencyModel for each, in order. prompt_tokens: the whole prompt, of which
    num_computed_tokens are already computed; the chunks sum to the difference.
    max_chunk_tokens: cap of every chunk; min_chunk_tokens: floor of a step's first chunk; alignment:
    chunks end on multiples of it; preferred_multiples: what a chunk's size should be a multiple of
    where these are small beside it; max_step_ms: no step is planned longer; max_in_flight: steps
    scheduled that have not left the last stage, by default as many as stages.
    Raises InvalidArgument unless 0 <= num_computed_tokens < prompt_tokens <= 10^12 and the limits
    agree with each other.
    """

def plan_fixed_chunks(
    stages: collections.abc.Sequence[LatencyModel],
    prompt_tokens: typing.SupportsInt | typing.SupportsIndex,
    chunk_tokens: typing.SupportsInt | typing.SupportsIndex,
    *,
    num_computed_tokens: typing.SupportsInt | typing.SupportsIndex = 0,
    max_in_flight: typing.SupportsInt | typing.SupportsIndex | None = None,
) -> Plan:
    """One prompt in chunks of chunk_tokens, the last one smaller: what dynamic chunks compete with.

    max_in_flight: as for plan_chunks. Raises InvalidArgument for counts outside of [1, 10^12].
    """

def scouting_passes(space: ProfileSpace) -> list[tuple[int, int]]:
    """The passes to measure before anything is known, as [(num_tokens, num_computed_tokens), ...].

    Small ones, the cheapest first. Raises InvalidArgument for a space without room.
    """

def simulate(
    pipeline: SimulatedPipeline,
    requests: collections.abc.Sequence[SimulatedRequest],
    policy: ChunkPolicy,
    *,
    record_steps: bool = False,
) -> SimulationResult:
    """Run a workload through a pipeline whose chunks a policy sizes.

    Event-driven, as vLLM with pipeline parallelism: first come first served, requests under way
    before waiting ones; a decode waits for the token before it, prefill chunks follow each other.
    requests: in any order, served by arrival. policy: any ChunkPolicy; not to be used elsewhere
    meanwhile. record_steps: list every step in the result, up to 256 MiB of them. Ctrl-C ends it.
    Raises InvalidArgument for bad requests, for a policy whose chunk is out of its range or that
    gives nothing while nothing is in flight, and for more than 10^7 requests, 10^8 output tokens or
    10^8 steps.
    """

def terapipe_plan(
    stages: collections.abc.Sequence[LatencyModel],
    prompt_tokens: typing.SupportsInt | typing.SupportsIndex,
    *,
    max_chunk_tokens: typing.SupportsInt | typing.SupportsIndex,
    granule_tokens: typing.SupportsInt | typing.SupportsIndex,
    num_computed_tokens: typing.SupportsInt | typing.SupportsIndex = 0,
) -> Plan:
    """The best plan there is for one prompt alone in a pipeline of equal stages.

    TeraPipe's dynamic programme (arXiv 2102.07988): the least sum(t) + (S-1) * max(t) over all cuts
    at multiples of granule_tokens, exact to 1e-9. stages: one model a stage. The plan's target_ms is
    its longest step. Raises InvalidArgument for unequal stages, bad counts, or a granule so fine that
    cuts times chunk lengths exceed 2^24.
    """

MAX_TOLD_PROMPTS: int = 64
TELL_EVERY_STEPS: int = 64
