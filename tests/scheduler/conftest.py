"""What the tests with vLLM's scheduler share: a small model, and how much random tests try."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cpp_chunk.records.cache_dir import CACHE_DIR_VARIABLE
from hypothesis import HealthCheck, settings

from benchmarks.engine.tiny_model import TinyModelShape, write_tiny_model

if TYPE_CHECKING:
    from collections.abc import Iterator

# So that their assertions say what they have found.
pytest.register_assert_rewrite("tests.scheduler.engine", "tests.scheduler.stage_times")

# Registered here, asked for by name in the test: a profile that is loaded holds for all folders.
settings.register_profile(
    "sequences",
    deadline=None,
    max_examples=40,
    stateful_step_count=60,
    derandomize=True,
    report_multiple_bugs=False,
)
# 10,000 sequences: hours of one core.
settings.register_profile(
    "many-sequences",
    deadline=None,
    max_examples=10_000,
    stateful_step_count=60,
    suppress_health_check=list(HealthCheck),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.engine)
            # vLLM's configuration warns of others' deprecations.
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"), TinyModelShape(num_layers=4))


@pytest.fixture(scope="session", autouse=True)
def _not_the_users_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The status of an engine that falls back in a test is not left beside the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_DIR_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield
