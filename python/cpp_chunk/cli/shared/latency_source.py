"""Where a command's latency models come from: a profile, coefficients, or measured points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cpp_chunk._core import FitRefused, FitReport, LatencyModel, fit_latency_model
from cpp_chunk.cli.shared.errors import CommandError, unreadable, unwritable, wrong_value
from cpp_chunk.cli.shared.points_file import read_points
from cpp_chunk.cli.shared.values import NON_NEGATIVE, Kind, WrongPartError
from cpp_chunk.records.profile_file import (
    PipelineProfile,
    ProfileError,
    read_profile,
    write_profile,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cpp_chunk.cli.shared.points_file import RowFilter

COEFFICIENT_NAMES = ("quadratic", "cross", "linear", "context", "constant")


@dataclass(frozen=True)
class Pipeline:
    """The stages that a command plans for."""

    # One a stage, in order, without the gap.
    stages: tuple[LatencyModel, ...]
    # What a step costs every stage beyond its compute.
    gap_ms: float
    # How the stages were fitted, where this command fitted them.
    fits: tuple[FitReport, ...] = ()

    @property
    def stages_with_gap(self) -> list[LatencyModel]:
        """What a planner plans with: it pays the gap with every step."""
        return [stage.with_overhead(self.gap_ms) for stage in self.stages]

    @property
    def is_even(self) -> bool:
        """Whether all stages are alike."""
        return len(set(self.stages)) == 1

    def slowest_stage(self, num_tokens: int) -> LatencyModel:
        """The stage that takes longest for a chunk of so many tokens without history."""
        return max(self.stages, key=lambda stage: stage.step_ms([(num_tokens, 0)]))

    def to_profile(self) -> PipelineProfile:
        """The same as a profile file holds it."""
        return PipelineProfile.of(self.stages, self.gap_ms)

    def to_json(self) -> dict[str, Any]:
        """What the results of a command begin with."""
        result: dict[str, Any] = self.to_profile().model_dump(include={"stages", "gap_ms"})
        if self.fits:
            result["fits"] = [
                {
                    "num_points": fit.num_points,
                    "num_outliers": fit.num_outliers,
                    "mean_relative_error": fit.mean_relative_error,
                    "p95_relative_error": fit.p95_relative_error,
                    "condition_number": fit.condition_number,
                }
                for fit in self.fits
            ]
        return result


def _read_coefficients(text: str) -> LatencyModel:
    given: dict[str, float] = {}
    for pair in text.split(","):
        name, separator, value = (part.strip() for part in pair.partition("="))
        if name not in COEFFICIENT_NAMES:
            message = f"{name!r} is no coefficient, allowed are {', '.join(COEFFICIENT_NAMES)}"
            raise WrongPartError(message)
        if not separator:
            message = f"{name} has no value, allowed is {name}=NUMBER"
            raise WrongPartError(message)
        if name in given:
            message = f"{name} is given twice, allowed is once"
            raise WrongPartError(message)
        try:
            given[name] = NON_NEGATIVE.read(value)
        except ValueError:
            message = f"{name} is {value!r}, allowed is {NON_NEGATIVE.allowed}"
            raise WrongPartError(message) from None
    # InvalidArgument is a ValueError.
    return LatencyModel(**{name: given.get(name, 0.0) for name in COEFFICIENT_NAMES})


COEFFICIENTS = Kind(
    _read_coefficients,
    "quadratic=..,cross=..,linear=..,context=..,constant=.., each a finite number of at least 0 "
    "(one left out is 0)",
)


def load_pipeline(
    *,
    profile: Path | None,
    coefficients: Sequence[LatencyModel] | None,
    points: Path | None,
    where: Sequence[RowFilter],
    num_stages: int | None,
    gap_ms: float | None,
) -> Pipeline:
    """Puts the stages together from the one source that was given.

    Args:
        profile: a file that `read_profile` reads.
        coefficients: one model for all stages, or one a stage.
        points: a CSV file of measured chunks; one fit a stage.
        where: which of the points' rows to take.
        num_stages: of the pipeline; None where the source tells it.
        gap_ms: replaces the source's own.

    Raises:
        CommandError: none or several sources, or one that does not fit the number of stages.
    """
    if where and points is None:
        raise CommandError("--where chooses rows of --points: it is allowed only with --points.")
    given = {"--profile": profile, "--coefficients": coefficients, "--points": points}
    names = [name for name, value in given.items() if value]
    if len(names) != 1:
        sources = ", ".join(given)
        if not names:
            raise CommandError(f"No latency model is given: one of {sources} is needed.")
        raise CommandError(f"{' and '.join(names)} are given: allowed is exactly one of {sources}.")
    fits: tuple[FitReport, ...] = ()
    source_gap_ms = 0.0
    if profile is not None:
        try:
            read = read_profile(profile)
        except ProfileError as error:
            raise CommandError(f"--profile {error}") from None
        except OSError as error:
            raise unreadable("--profile", profile, error) from None
        models, source_gap_ms = read.to_models(), read.gap_ms
    elif coefficients:
        models = list(coefficients)
    else:
        assert points is not None  # noqa: S101
        fits = _fit_stages(points, where)
        models = [fit.model for fit in fits]
    for stage, model in enumerate(models):
        # Whatever is planned with it would take no time.
        if not any(getattr(model, name) for name in COEFFICIENT_NAMES):
            raise CommandError(
                f"{names[0]} has only coefficients of 0 for stage {stage}: allowed is at least one "
                "above 0."
            )
    return Pipeline(
        tuple(_one_a_stage(models, names[0], num_stages)),
        source_gap_ms if gap_ms is None else gap_ms,
        fits,
    )


def save_pipeline(path: Path, pipeline: Pipeline) -> None:
    """Writes the stages to a profile file.

    Raises:
        CommandError: the file cannot be written.
    """
    try:
        write_profile(path, pipeline.to_profile())
    except OSError as error:
        raise unwritable("--save-profile", path, error) from None


def _one_a_stage(
    models: Sequence[LatencyModel], source: str, num_stages: int | None
) -> Sequence[LatencyModel]:
    if num_stages is None:
        if len(models) == 1:
            raise CommandError(
                "--pipeline-parallel-size is not given: it is needed, since the one model of "
                f"{source} stands for every stage."
            )
        return models
    if len(models) == 1:
        return list(models) * num_stages
    if len(models) != num_stages:
        raise wrong_value(
            "--pipeline-parallel-size",
            num_stages,
            f"{len(models)}, the number of stages of {source}",
        )
    return models


def _fit_stages(points: Path, where: Sequence[RowFilter]) -> tuple[FitReport, ...]:
    fits = []
    for stage, samples in enumerate(read_points(points, where)):
        try:
            fits.append(fit_latency_model(samples))
        except FitRefused as refused:
            raise CommandError(
                f"--points {points} carries no model of stage {stage}: {refused}."
            ) from None
    return tuple(fits)
