"""A deployment in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cpp_chunk.settings.deployment import Deployment

# In the order of the words, with vLLM's own abbreviations.
_SIZES = {
    "pipeline_parallel_size": "PP",
    "tensor_parallel_size": "TP",
    "prefill_context_parallel_size": "PCP",
    "decode_context_parallel_size": "DCP",
    "data_parallel_size": "DP",
    "nnodes": "nodes",
}


def layout_text(deployment: Deployment) -> str:
    """The parallel layout: `PP 2 (4,4 layers), TP 8`; sizes of 1 are left out."""
    words = []
    for name, short in _SIZES.items():
        size = getattr(deployment, name)
        if name == "pipeline_parallel_size":
            layers = deployment.layers_of_stages
            split = f" ({','.join(map(str, layers))} layers)" if layers else ""
            words.append(f"{short} {size}{split}")
        elif size is not None and size > 1:
            words.append(f"{short} {size}")
    if deployment.enable_expert_parallel:
        words.append("EP")
    return ", ".join(words)


def deployment_rows(deployment: Deployment) -> list[tuple[str, str]]:
    """Names and values of all that this vLLM says."""
    return [
        (name, ",".join(map(str, value)) if isinstance(value, list) else str(value))
        for name, value in deployment.model_dump(exclude_none=True).items()
    ]
