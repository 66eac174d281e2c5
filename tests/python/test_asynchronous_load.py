"""A `schedule()` that asks for the chunk of a request whose KV is being loaded."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from cpp_chunk.config import ProfilingChunkConfig
from cpp_chunk.engine import startup
from cpp_chunk.engine.context import EngineContext
from cpp_chunk.engine.scheduler import derive

if TYPE_CHECKING:
    import pytest


class OldScheduler:
    """As the copy in vllm-ascend 0.23.0: 0 in answer for a load means that it is not admitted."""

    def __init__(self) -> None:
        self.need_mamba_block_aligned_split = False
        self.requests: dict[str, Any] = {}
        self.admitted: list[str] = []

    def _mamba_block_aligned_split(
        self,
        request: Any,
        num_new_tokens: int,
        num_new_local_computed_tokens: int = 0,
        num_external_computed_tokens: int = 0,
    ) -> int:
        return num_new_tokens

    def schedule(self) -> Any:
        for request in self.requests.values():
            num_new_tokens = 0
            if self.need_mamba_block_aligned_split:
                self._mamba_block_aligned_split(request, 1)
            if self.need_mamba_block_aligned_split:
                num_new_tokens = self._mamba_block_aligned_split(request, num_new_tokens, 0, 512)
                if num_new_tokens == 0:
                    break
            self.admitted.append(request.request_id)
        return SimpleNamespace(total_num_scheduled_tokens=0)


def test_the_load_is_admitted_and_chunks_are_fixed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(startup, "start", lambda scheduler, context: None)
    scheduler = derive(OldScheduler, EngineContext(ProfilingChunkConfig(enabled=True), None))()
    scheduler.requests["a"] = SimpleNamespace(request_id="a", num_computed_tokens=0)
    logging.getLogger("vllm").propagate = True
    with caplog.at_level(logging.ERROR, logger="vllm"):
        scheduler.schedule()
        scheduler.schedule()
        scheduler.schedule()
    assert scheduler.admitted == ["a", "a"]  # all but the one that it was found out in
    assert caplog.text.count("a request's KV is loaded asynchronously") == 1
