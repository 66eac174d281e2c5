"""Native core of cpp_chunk: latency model, fit, target, chunk solver, calibrator."""

import collections.abc
import typing

__all__: list[str] = [
    "Calibrator",
    "ChunkSolver",
    "Error",
    "FitRefused",
    "FitReport",
    "InvalidArgument",
    "LatencyModel",
    "Plan",
    "base_target_ms",
    "best_target_ms",
    "fit_latency_model",
    "plan_chunks",
]

class Error(Exception):
    """Root of every error of cpp_chunk."""

class InvalidArgument(Error, ValueError):
    """An argument is outside of what its function documents."""

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
        min_chunk_tokens: typing.SupportsInt | typing.SupportsIndex,
        alignment: typing.SupportsInt | typing.SupportsIndex,
        smooth_factor: typing.SupportsFloat | typing.SupportsIndex = 1.0,
        base_chunk_tokens: typing.SupportsInt | typing.SupportsIndex | None = None,
    ) -> None:
        """Make a solver for a model and an engine's limits, in tokens.

        max_chunk_tokens: cap of every chunk; min_chunk_tokens: floor of the first chunk of a step;
        alignment: chunks end on multiples of it, but for a prompt's last.
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
    def set_target(self, target_ms: typing.SupportsFloat | typing.SupportsIndex) -> None:
        """Aim the step under way at another time, the constant included.

        Raises InvalidArgument for NaN or a negative time.
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
        """Time until the last step leaves the last stage, in ms."""
    @property
    def target_ms(self) -> float:
        """Step time aimed at, in ms, the constant included."""

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
    def num_recent(self) -> int:
        """Recent steps held now."""
    @property
    def num_rejected(self) -> int:
        """Unusable samples dropped so far."""

def base_target_ms(
    model: LatencyModel, base_chunk_tokens: typing.SupportsInt | typing.SupportsIndex
) -> float:
    """Step time, in ms and with the constant, of the published rule f(base) - f(0).

    f is the time of a step of one chunk without history. Raises InvalidArgument unless
    1 <= base_chunk_tokens <= 10^12.
    """

def best_target_ms(
    model: LatencyModel,
    prompts: collections.abc.Sequence[
        tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]
    ],
    *,
    num_stages: typing.SupportsInt | typing.SupportsIndex,
    max_chunk_tokens: typing.SupportsInt | typing.SupportsIndex,
    min_chunk_tokens: typing.SupportsInt | typing.SupportsIndex,
    alignment: typing.SupportsInt | typing.SupportsIndex,
) -> float:
    """Step time, in ms and with the constant, that gets a backlog through the pipeline soonest.

    prompts: [(remaining_tokens, num_computed_tokens), ...], taken as one flow, in order.
    num_stages: pipeline stages of equal speed; max_chunk_tokens: tokens that a step may hold.
    Minimises sum(t) + (num_stages - 1) * max(t) over real plans, within a bounded time.
    Raises InvalidArgument for an empty backlog, bad counts, or limits that contradict each other.
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

def plan_chunks(
    model: LatencyModel,
    prompt_tokens: typing.SupportsInt | typing.SupportsIndex,
    *,
    num_stages: typing.SupportsInt | typing.SupportsIndex,
    max_chunk_tokens: typing.SupportsInt | typing.SupportsIndex,
    min_chunk_tokens: typing.SupportsInt | typing.SupportsIndex,
    alignment: typing.SupportsInt | typing.SupportsIndex,
    num_computed_tokens: typing.SupportsInt | typing.SupportsIndex = 0,
) -> Plan:
    """Plan one prompt: the best target, then the chunks that serving would choose for it.

    prompt_tokens: the whole prompt, of which num_computed_tokens are already computed; the chunks
    sum to the difference. Times in ms. Raises InvalidArgument unless 0 <= num_computed_tokens <
    prompt_tokens <= 10^12 and the limits agree with each other.
    """
