"""The OpenAI-compatible server, started with the command line that users write."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.environment import engine_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_TIMEOUT_S = 180


def get(url: str, body: dict[str, Any] | None = None) -> str:
    request = urllib.request.Request(
        url,
        data=json.dumps(body).encode() if body else None,
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        text: str = reply.read().decode()
        return text


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log_path = tmp_path_factory.mktemp("server") / "server.log"
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(model), "--load-format", "dummy", "--dtype", "float32"),
        *("--enforce-eager", "--max-model-len", "8192", "--max-num-batched-tokens", "4096"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--pipeline-parallel-size", "2", "--enable-chunked-prefill"),
        *("--additional-config", '{"profiling_chunk_config": {"enabled": true}}'),
    ]
    with log_path.open("w") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=engine_environment(),
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                get(f"{url}/health")
                break
            if process.poll() is not None or time.monotonic() > deadline_s:
                pytest.fail(f"the server did not start:\n{log_path.read_text()[-6000:]}")
            time.sleep(0.5)
        yield url, log_path
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_completion_is_answered(server: tuple[str, Path], model: Path) -> None:
    url, log_path = server
    reply = json.loads(
        get(
            f"{url}/v1/completions",
            {"model": str(model), "prompt": "long " * 1200, "max_tokens": 3, "temperature": 0},
        )
    )
    assert reply["usage"]["prompt_tokens"] == 6000
    assert reply["usage"]["completion_tokens"] >= 1
    log = log_path.read_text()
    assert "[cpp_chunk] measured profile" in log
    assert "[cpp_chunk] stage 0: " in log
    assert "[cpp_chunk] stage 1: " in log
    assert "ms a step" in log


def test_our_figures_are_on_the_metrics_page(server: tuple[str, Path]) -> None:
    url, _ = server
    page = get(f"{url}/metrics")
    figures = {
        line.split()[0]: float(line.split()[1])
        for line in page.splitlines()
        if line.startswith("cpp_chunk:")
    }
    assert figures["cpp_chunk:target_seconds"] > 0
    assert 0 < figures["cpp_chunk:model_error_ratio"] < 1
    assert "vllm:prompt_tokens_total" in page


def prefix_cache_hits(url: str) -> float:
    page = get(f"{url}/metrics")
    (line,) = re.findall(r"^vllm:prefix_cache_hits_total.*$", page, re.MULTILINE)
    return float(line.split()[-1])


def test_calibrate_drives_the_server(server: tuple[str, Path]) -> None:
    url, _ = server
    hits_before = prefix_cache_hits(url)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "cpp_chunk.cli", "calibrate", url),
            *("--prompts", "2", "--prompt-tokens", "2048", "--json"),
        ],
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["prompt_tokens"] == 2048
    assert len(result["prompts"]) == 2
    for prompt in result["prompts"]:
        assert prompt["ttft_ms"] > 0
        # A short prompt's times come in only with later steps: the command brings these.
        assert prompt["measured_steps"] >= 1
        assert prompt["prediction_error_ratio"] > 0
    assert prefix_cache_hits(url) == hits_before
