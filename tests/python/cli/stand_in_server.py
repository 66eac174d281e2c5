"""A server that answers as vLLM with our plugin does, with steps and figures made up."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

STEP_TOKENS = 1000
# Prediction error of each step: of the first model, and after the refit.
FIRST_ERROR, REFITTED_ERROR = 0.25, 0.0625

# Events of answers that begin well and go wrong.
FAILED_ANSWERS: dict[str, list[dict[str, Any]]] = {
    "event": [{"error": {"message": "out of memory"}}],
    "no token": [],
    "rubbish": [{"choices": 3}],
}


def metrics_page(measured: list[float], refits: int) -> str:
    """Two engines' worth of figures: the second has measured nothing."""
    return f"""\
# HELP cpp_chunk:prediction_error_ratio Of measured steps.
# TYPE cpp_chunk:prediction_error_ratio summary
cpp_chunk:prediction_error_ratio_count{{engine="0"}} {float(len(measured))}
cpp_chunk:prediction_error_ratio_sum{{engine="0"}} {sum(measured)}
cpp_chunk:prediction_error_ratio_count{{engine="1"}} 5.0
cpp_chunk:prediction_error_ratio_sum{{engine="1"}} 1.0
# TYPE cpp_chunk:refits counter
cpp_chunk:refits_total {float(refits)}
# TYPE cpp_chunk:dynamic gauge
cpp_chunk:dynamic 1.0
# TYPE vllm:prompt_tokens counter
vllm:prompt_tokens_total 12.0
"""


@dataclass
class StandIn:
    """What the server does, and what was asked of it. Tests set and read the fields."""

    url: str = ""
    models: tuple[str, ...] = ("tiny",)
    api_key: str | None = None
    max_model_len: int = 8192
    page: str | None = None
    missing_paths: tuple[str, ...] = ()
    fails_at_prompt: int | None = None
    failure: str = "status"
    measures: bool = True
    prompts: list[list[int]] = field(default_factory=list)
    flushes: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0
    tokenizes_empty: bool = False
    release: threading.Event = field(default_factory=threading.Event)
    under_way: threading.Event = field(default_factory=threading.Event)
    _at_once: int = 0
    _measured: list[float] = field(default_factory=list)
    _unread: list[float] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def inside(self) -> Iterator[None]:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1

    def metrics(self) -> str:
        refits = 1 if self._measured else 0
        return metrics_page(self._measured, refits) if self.page is None else self.page

    def compute(self, prompt: list[int]) -> None:
        """As in the engine: a later step's reply lets the times of earlier ones in."""
        self._measured += self._unread
        self._unread = []
        if len(prompt) == 1:
            self.flushes += 1
            return
        self.prompts.append(prompt)
        error = REFITTED_ERROR if self._measured else FIRST_ERROR
        if self.measures:
            self._unread = [error] * -(-len(prompt) // STEP_TOKENS)


class _Handler(BaseHTTPRequestHandler):
    state: StandIn
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self._refused():
            return
        if self.path == "/v1/models":
            self._send({"data": [{"id": name} for name in self.state.models]})
        else:
            self._send_text(self.state.metrics())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._refused():
            return
        if self.path == "/tokenize":
            # Three characters a token, as no two texts are likely to have them.
            text = "" if self.state.tokenizes_empty else body["prompt"]
            tokens = [hash(text[at : at + 3]) % 50_000 for at in range(0, len(text), 3)]
            self._send({"tokens": tokens, "max_model_len": self.state.max_model_len})
        else:
            with self.state.inside():
                self._complete(body)

    def _complete(self, body: dict[str, Any]) -> None:
        state, prompt = self.state, body["prompt"]
        state.bodies.append(body)
        state.compute(prompt)
        fails = len(prompt) > 1 and len(state.prompts) == state.fails_at_prompt
        if fails and state.failure == "status":
            self._send({"error": {"message": "the engine\nis dead.", "code": 500}}, 500)
            return
        if fails and state.failure == "silence":
            state.under_way.set()
            state.release.wait(20)
            return
        if fails and state.failure == "hang up":
            return
        time.sleep(0.01)
        events: list[dict[str, Any]] = [{"choices": [{"text": "a"}]}]
        if fails:
            events = FAILED_ANSWERS[state.failure]
        lines = [*(json.dumps(event) for event in events), "[DONE]"]
        self._send_text("".join(f"data: {line}\n\n" for line in lines))

    def _refused(self) -> bool:
        key = self.state.api_key
        if key is not None and self.headers.get("Authorization") != f"Bearer {key}":
            self._send({"error": "Unauthorized"}, 401)
            return True
        if self.path in self.state.missing_paths:
            self._send({"detail": "Not Found"}, 404)
            return True
        return False

    def _send(self, reply: dict[str, Any], status: int = 200) -> None:
        self._send_text(json.dumps(reply), status)

    def _send_text(self, text: str, status: int = 200) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())


@contextmanager
def running_stand_in() -> Iterator[StandIn]:
    state = StandIn()
    handler = type("Handler", (_Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            state.release.set()
            server.shutdown()
            thread.join()
