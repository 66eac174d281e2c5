"""The package's extras for Ascend name what goes together."""

from __future__ import annotations

import importlib.metadata

import pytest
from packaging.requirements import Requirement

from tests.ascend.releases import PAIRS, Pair

EXTRAS = dict(zip(("npu", "npu-rc"), PAIRS, strict=True))


def pins(requirements: list[str], **environment: str) -> dict[str, str]:
    found = [Requirement(text) for text in requirements]
    return {
        one.name: str(one.specifier)
        for one in found
        if (one.marker.evaluate(environment) if one.marker else not environment)
    }


@pytest.mark.parametrize(("extra", "pair"), EXTRAS.items(), ids=EXTRAS)
def test_torch_npu_is_the_one_that_the_release_asks_for(extra: str, pair: Pair) -> None:
    [metadata] = pair.ascend_folder.glob("*.dist-info")
    theirs = importlib.metadata.Distribution.at(metadata)
    ours = pins(importlib.metadata.requires("cpp-chunk") or [], extra=extra)
    assert ours == {
        "vllm-ascend": f"=={theirs.version}",
        "torch-npu": pins(theirs.requires or [])["torch-npu"],
    }
    assert theirs.version == pair.ascend
