"""What every test here has around it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from cpp_chunk.records.cache_dir import CACHE_DIR_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def _cache_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Files are written beside the serving, so also after a test has put its own folder back."""
    before = os.environ.get(CACHE_DIR_VARIABLE)
    os.environ[CACHE_DIR_VARIABLE] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ[CACHE_DIR_VARIABLE]
    else:
        os.environ[CACHE_DIR_VARIABLE] = before
