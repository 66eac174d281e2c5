"""Start-up: what may fail without a consequence."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import cpp_chunk
import pytest
from cpp_chunk.assembly import startup
from cpp_chunk.engine.planner import ServingPlanner
from cpp_chunk.engine.stage_fits import StageFits, fit_stages
from cpp_chunk.settings.config import parse_config

MODEL = cpp_chunk.LatencyModel(quadratic=1e-4, cross=9e-5, linear=0.04, context=0, constant=7)
CHUNKS = [(tokens, history) for tokens in (64, 256, 1024, 2048) for history in (0, 4096, 8192)]


def fits_of(*shares: float) -> StageFits:
    samples = [([one], [share * MODEL.step_ms([one]) for share in shares]) for one in CHUNKS]
    return fit_stages(samples, len(shares))


def scheduler(num_layers: int, stages: int) -> Any:
    text_config = SimpleNamespace(num_hidden_layers=num_layers)
    return SimpleNamespace(
        max_model_len=16384,
        vllm_config=SimpleNamespace(
            model_config=SimpleNamespace(hf_text_config=text_config),
            parallel_config=SimpleNamespace(pipeline_parallel_size=stages),
        ),
    )


def suggest(it: Any, fits: StageFits) -> None:
    planner = ServingPlanner(
        parse_config({"enabled": True}), max_chunk_tokens=4096, alignment_tokens=16
    )
    planner.set_models(fits.models, 0.0)
    startup._suggest_layer_split(it, fits, 0.0, planner)


def test_a_layer_split_is_suggested(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("vllm.distributed.utils")
    with caplog.at_level(logging.INFO, logger="vllm"):
        suggest(scheduler(8, 2), fits_of(1.0, 2.0))
    assert "VLLM_PP_LAYER_PARTITION=" in caplog.text


@pytest.mark.parametrize(
    "it",
    [
        SimpleNamespace(max_model_len=16384, vllm_config=None),
        # More prompt than a plan can have.
        SimpleNamespace(**{**vars(scheduler(8, 2)), "max_model_len": 2**62}),
    ],
    ids=["a configuration of another form", "a length without a plan"],
)
def test_a_layer_split_that_cannot_be_found_is_no_failure(
    it: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="vllm"):
        suggest(it, fits_of(1.0, 2.0))
    assert "no split of the layers is suggested" in caplog.text
