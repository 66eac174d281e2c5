"""Connectors that find the first half of some prompts elsewhere.

Their scheduler's side alone: no worker is there to load anything.
"""

from __future__ import annotations

from typing import Any, ClassVar

from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorMetadata,
)

LOADED = "loaded"


class HalfOfThePrompt(KVConnectorBase_V1):
    """For requests whose names begin with LOADED: loaded in the background, before their steps."""

    is_in_background: ClassVar[bool] = True

    def get_num_new_matched_tokens(
        self, request: Any, num_computed_tokens: int
    ) -> tuple[int, bool]:
        if request.request_id.startswith(LOADED) and num_computed_tokens == 0:
            return request.num_tokens // 2, self.is_in_background
        return 0, False

    def update_state_after_alloc(self, *_: Any) -> None: ...

    def build_connector_meta(self, scheduler_output: Any) -> Any:
        return KVConnectorMetadata()

    def start_load_kv(self, *_: Any, **__: Any) -> None: ...

    def wait_for_layer_load(self, layer_name: str) -> None: ...

    def save_kv_layer(self, *_: Any, **__: Any) -> None: ...

    def wait_for_save(self) -> None: ...


class HalfInTheStep(HalfOfThePrompt):
    """The same, loaded in the step that computes what is left."""

    is_in_background = False
