"""A connector that finds the first half of some prompts elsewhere, to be loaded in the background.

Its scheduler's side alone: no worker is there to load anything.
"""

from __future__ import annotations

from typing import Any

from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorMetadata,
)

LOADED = "loaded"


class HalfOfThePrompt(KVConnectorBase_V1):
    """For requests whose names begin with LOADED."""

    def get_num_new_matched_tokens(
        self, request: Any, num_computed_tokens: int
    ) -> tuple[int, bool]:
        if request.request_id.startswith(LOADED) and num_computed_tokens == 0:
            return request.num_tokens // 2, True
        return 0, False

    def update_state_after_alloc(self, *_: Any) -> None: ...

    def build_connector_meta(self, scheduler_output: Any) -> Any:
        return KVConnectorMetadata()

    def start_load_kv(self, *_: Any, **__: Any) -> None: ...

    def wait_for_layer_load(self, layer_name: str) -> None: ...

    def save_kv_layer(self, *_: Any, **__: Any) -> None: ...

    def wait_for_save(self) -> None: ...
