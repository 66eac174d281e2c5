"""The start-up profile's passes, for budgets and contexts of every size."""

from __future__ import annotations

import pytest
from cpp_chunk.engine.profile import MAX_PASSES, plan_passes


@pytest.mark.parametrize("max_chunk_tokens", [256, 512, 1024, 8192, 32768, 131072])
@pytest.mark.parametrize("max_context_tokens", [4096, 32768, 131072, 1_048_576])
@pytest.mark.parametrize("alignment_tokens", [16, 128])
def test_passes(max_chunk_tokens: int, max_context_tokens: int, alignment_tokens: int) -> None:
    passes = plan_passes(max_chunk_tokens, max_context_tokens, alignment_tokens)
    # Two warm-up passes come on top.
    assert 8 <= len(passes) + 2 <= MAX_PASSES
    sizes = {num_tokens for num_tokens, _ in passes}
    histories = {history for _, history in passes}
    assert len(sizes) >= 4
    assert len(histories - {0}) >= 3
    assert 2 * max(histories) >= max_context_tokens
    for num_tokens, history in passes:
        assert 0 < num_tokens <= max_chunk_tokens
        assert history >= 0
        assert num_tokens + history < max_context_tokens
