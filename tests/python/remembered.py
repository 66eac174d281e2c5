"""Deployments and profiles for the tests of what is remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cpp_chunk import LatencyModel
from cpp_chunk.records.profile_file import PipelineProfile, ProfiledPass, StageCoefficients
from cpp_chunk.settings.deployment import Deployment

if TYPE_CHECKING:
    from pathlib import Path

MODELS = (
    LatencyModel(quadratic=1e-4, cross=1e-4, linear=0.05, context=1e-3, constant=2.0),
    LatencyModel(quadratic=1e-4, cross=1e-4, linear=0.06, context=1e-3, constant=3.0),
)
PASSES = ((64, 0), (256, 0), (1024, 0), (256, 4096))


def deployment(**changes: Any) -> Deployment:
    values: dict[str, Any] = {
        "model": "some/model",
        "model_config_sha256": "0" * 64,
        "dtype": "bfloat16",
        "pipeline_parallel_size": 2,
        "tensor_parallel_size": 4,
        "layers_of_stages": [4, 4],
        "block_size": 16,
        "execution": "eager",
        "device_name": "a device",
        "vllm_version": "0.32.0",
        "cpp_chunk_version": "0.1.0",
    }
    return Deployment(**(values | changes))


def profile(of: Deployment | None = None, **changes: Any) -> PipelineProfile:
    """Measured 10 % slower on every stage than the models say."""
    values: dict[str, Any] = {
        "stages": [StageCoefficients.of(model) for model in MODELS],
        "gap_ms": 0.5,
        "deployment": of or deployment(),
        "passes": [
            ProfiledPass(
                num_tokens=num_tokens,
                num_computed_tokens=history,
                stage_ms=[1.1 * model.step_ms([(num_tokens, history)]) for model in MODELS],
            )
            for num_tokens, history in PASSES
        ],
        "measured_at": "2026-01-31T12:00:00+00:00",
        "seconds": 3.5,
    }
    return PipelineProfile(**(values | changes))


def mount_with_fs_group(volume: Path) -> None:
    """Opens a volume to its group, as the kubelet does under `fsGroup` when a pod starts."""
    for path in (volume, *volume.rglob("*")):
        more = 0o2770 if path.is_dir() else 0o660
        path.chmod(path.stat().st_mode | more)
