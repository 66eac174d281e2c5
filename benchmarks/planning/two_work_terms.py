"""Two published pairs of times, explained by two work terms; and what the best target predicts.

A pipeline of two stages whose steps take quadratic * (x^2/2 + x*h) + linear * x + constant: the
static and the dynamic time of a model fix quadratic and linear, for a constant that is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cpp_chunk import (
    ChunkPlanner,
    LatencyModel,
    VllmAscendPolicy,
    base_target_ms,
    plan_chunks,
    plan_fixed_chunks,
)

from benchmarks.planning.published import ASCEND_RUNS, ASCEND_STAGES, KIMI_STEP
from benchmarks.planning.row import CAP_TOKENS, lone_ttft_ms, planning_row

if TYPE_CHECKING:
    from benchmarks.planning.published import AscendRun
    from benchmarks.shared.figures import Figure

MAX_ERROR = 0.01
ALIGNMENT = 128
# Not published for these models. Without one, steps of any shortness would be best; so what the
# best target predicts is reckoned with that of Kimi-K2.5, the gap included.
CONSTANTS_MS = (0.0, KIMI_STEP.constant)
PREDICTED_STAGES = (2, 4, 8)
# Shares of the work that may be quadratic, tried one by one: the rule refits itself while it
# serves, so its time jumps, and no halving would find the best of them.
NUM_SHARES = 1000


@dataclass(frozen=True)
class FittedRun:
    """A published run with the stage model that explains it."""

    run: AscendRun
    model: LatencyModel

    @property
    def static_ms(self) -> float:
        """The static chunks' time by the model."""
        return static_ms(self.run, self.model)

    @property
    def rule_ms(self) -> float:
        """The documented rule's time by the model, simulated with both of its phases."""
        return rule_ms(self.run, self.model, ASCEND_STAGES)

    @property
    def equal_times_ms(self) -> float:
        """The time of steps that all take T = f(base), solved exactly: the rule as it is meant."""
        return equal_times_ms(self.run, self.model)

    @property
    def error(self) -> float:
        """How far the worst of the three is from what is published."""
        dynamic_ms = 1e3 * self.run.dynamic_ttft_s
        return max(
            abs(self.static_ms / (1e3 * self.run.static_ttft_s) - 1),
            abs(self.rule_ms / dynamic_ms - 1),
            abs(self.equal_times_ms / dynamic_ms - 1),
        )


def stage_model(quadratic: float, linear: float, constant_ms: float) -> LatencyModel:
    """A model with two work terms."""
    return LatencyModel(
        quadratic=quadratic, cross=quadratic, linear=linear, context=0.0, constant=constant_ms
    )


def static_ms(run: AscendRun, model: LatencyModel) -> float:
    """Static chunks of the base size through two equal stages."""
    stages = [model] * ASCEND_STAGES
    return plan_fixed_chunks(stages, run.prompt_tokens, run.base_chunk_tokens).makespan_ms


def rule_ms(run: AscendRun, model: LatencyModel, num_stages: int) -> float:
    """The documented rule, T = f(base), as the engine's policy does it."""
    policy = VllmAscendPolicy(model, run.base_chunk_tokens)
    return lone_ttft_ms([model] * num_stages, run.prompt_tokens, policy)


def equal_times_ms(run: AscendRun, model: LatencyModel) -> float:
    """Steps that take T = f(base), solved exactly."""
    stages = [model] * ASCEND_STAGES
    policy = ChunkPlanner(
        stages,
        max_chunk_tokens=CAP_TOKENS,
        min_chunk_tokens=ALIGNMENT,
        alignment=ALIGNMENT,
        target_ms=base_target_ms(model, run.base_chunk_tokens),
    )
    return lone_ttft_ms(stages, run.prompt_tokens, policy)


def fitted(run: AscendRun, constant_ms: float) -> FittedRun:
    """Solve both times for the two terms.

    The static time is linear in each term: it fixes the linear one for every quadratic one.
    Of those pairs the one that meets the dynamic time best, in both readings of the rule.
    """
    constant_part_ms = static_ms(run, stage_model(0.0, 0.0, constant_ms))
    work_ms = 1e3 * run.static_ttft_s - constant_part_ms
    quadratic_weight = static_ms(run, stage_model(1.0, 0.0, 0.0))
    linear_weight = static_ms(run, stage_model(0.0, 1.0, 0.0))
    shares = (index / NUM_SHARES for index in range(NUM_SHARES + 1))
    models = (
        stage_model(
            share * work_ms / quadratic_weight, (1 - share) * work_ms / linear_weight, constant_ms
        )
        for share in shares
    )
    return min((FittedRun(run, model) for model in models), key=lambda fit: fit.error)


def two_work_term_figures() -> list[Figure]:
    """For each model whether both times are met, and what the best target would bring."""
    return [
        row for run in ASCEND_RUNS for row in (reproduction_figure(run), *prediction_figures(run))
    ]


def reproduction_figure(run: AscendRun) -> Figure:
    """The worse of both errors, for each constant."""
    by_case: dict[str, float] = {}
    errors: list[float] = []
    for constant_ms in CONSTANTS_MS:
        fit = fitted(run, constant_ms)
        case = f"constant {constant_ms:g} ms"
        by_case |= {
            f"{case}: static, s": fit.static_ms / 1e3,
            f"{case}: documented rule, s": fit.rule_ms / 1e3,
            f"{case}: equal times of f(32k), s": fit.equal_times_ms / 1e3,
            f"{case}: quadratic, ms a token^2": fit.model.quadratic,
            f"{case}: linear, ms a token": fit.model.linear,
        }
        errors.append(fit.error)
    return planning_row(
        f"{run.model}, S = {ASCEND_STAGES}: error of static and documented rule's TTFT",
        max(errors),
        MAX_ERROR,
        by_case=by_case,
        notes=(
            f"published: static {run.static_ttft_s:g} s, rule {run.dynamic_ttft_s:g} s; worst of "
            "static, the rule with its refit while serving, and equal times solved exactly"
        ),
    )


def prediction_figures(run: AscendRun) -> list[Figure]:
    """The best target's time over the documented rule's, for more stages too."""
    constant_ms = CONSTANTS_MS[-1]
    model = fitted(run, constant_ms).model
    return [prediction_figure(run, model, num_stages) for num_stages in PREDICTED_STAGES]


def prediction_figure(run: AscendRun, two_stage_model: LatencyModel, num_stages: int) -> Figure:
    """The same layers over num_stages stages: the work of each is 2/S, the constant stays."""
    share = ASCEND_STAGES / num_stages
    model = stage_model(
        share * two_stage_model.quadratic, share * two_stage_model.linear, two_stage_model.constant
    )
    plan = plan_chunks(
        [model] * num_stages,
        run.prompt_tokens,
        max_chunk_tokens=CAP_TOKENS,
        min_chunk_tokens=ALIGNMENT,
        alignment=ALIGNMENT,
    )
    documented_ms = rule_ms(run, model, num_stages)
    return planning_row(
        f"{run.model}, S = {num_stages}: predicted TTFT of T* over the documented rule's",
        plan.makespan_ms / documented_ms,
        1.0,
        by_case={
            "T*, TTFT, s": plan.makespan_ms / 1e3,
            "documented rule at base 32k, TTFT, s": documented_ms / 1e3,
            "T*, ms": plan.target_ms,
            "steps": len(plan.chunks),
        },
        notes=(
            f"work a stage {share:g} of that at S = 2, constant {model.constant:g} ms a step "
            "whatever S (Kimi-K2.5's, none is published for this model)"
        ),
    )
