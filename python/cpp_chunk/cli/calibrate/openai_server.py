"""A client of a running vLLM server: the few requests that a calibration needs."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from cpp_chunk.cli.calibrate.server_replies import (
    CompletionChunk,
    ModelList,
    TokenizeReply,
    error_message,
    one_line,
)
from cpp_chunk.cli.shared.errors import CommandError, wrong_value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

Reply = TypeVar("Reply", bound=BaseModel)

# A prompt may take minutes; a server that is there takes a connection at once.
_CONNECT_TIMEOUT_S = 10.0
_NO_SUCH_PATH = (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED)
_EVENT = "data:"
_LAST_EVENT = "[DONE]"


class OpenAIServer:
    """An open connection to a server. Every method raises CommandError for what goes wrong.

    Args:
        url: the server's, as `server_url` gives it.
        api_key: sent with every request, if there is one.
        timeout_s: longest wait for a part of an answer.

    Raises:
        CommandError: the key is none that a request can carry.
    """

    def __init__(self, url: httpx.URL, api_key: str | None, timeout_s: float) -> None:
        self._url = str(url).rstrip("/")
        self._has_key = bool(api_key)
        self._timeout_s = timeout_s
        if api_key and not (api_key.isascii() and api_key.isprintable()):
            # The key itself is nobody's to read.
            raise CommandError(
                "--api-key is not printable ASCII: allowed are such characters only."
            )
        self._client = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S)),
        )

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def model_ids(self) -> list[str]:
        """The names under which models are served."""
        path = "/v1/models"
        reply = self._parsed(ModelList, self._ask("GET", path), path)
        return [card.id for card in reply.data]

    def tokenize(self, model: str, text: str) -> TokenizeReply:
        """A text in the model's own tokens, without special ones."""
        path = "/tokenize"
        body = {"model": model, "prompt": text, "add_special_tokens": False}
        response = self._ask("POST", path, body, allowed=_NO_SUCH_PATH)
        if response.status_code in _NO_SUCH_PATH:
            raise wrong_value(
                "URL", self._url, f"a vLLM server, which answers {path}, not {_status(response)}"
            )
        return self._parsed(TokenizeReply, response, path)

    def metrics_page(self) -> str:
        """The Prometheus page, as text."""
        return self._ask("GET", "/metrics").text

    def time_to_first_token_ms(self, model: str, prompt: Sequence[int], cache_salt: str) -> float:
        """Sends one prompt, generates one token, and waits for the end of the answer.

        Args:
            model: its name at the server.
            prompt: token ids.
            cache_salt: the prefix cache serves only prompts of the same salt.
        """
        path = "/v1/completions"
        body = {
            "model": model,
            "prompt": list(prompt),
            "max_tokens": 1,
            "temperature": 0,
            "stream": True,
            "cache_salt": cache_salt,
        }
        first_token_ms = None
        with self._trouble(path):
            start_s = time.perf_counter()
            with self._client.stream("POST", path, json=body) as response:
                if not response.is_success:
                    response.read()
                    self._check(response, path)
                for data in _events(response):
                    chunk = self._chunk(data, path)
                    if chunk.choices and first_token_ms is None:
                        first_token_ms = 1e3 * (time.perf_counter() - start_s)
        if first_token_ms is None:
            raise wrong_value(
                "URL", self._url, f"a server that answers {path} with a token, not with none"
            )
        return first_token_ms

    def _chunk(self, data: str, path: str) -> CompletionChunk:
        try:
            chunk = CompletionChunk.model_validate_json(data)
        except ValidationError:
            raise self._not_expected(path, data) from None
        if chunk.error is not None:
            raise self._not_expected(path, error_message(data))
        return chunk

    def _ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        allowed: Collection[int] = (),
    ) -> httpx.Response:
        with self._trouble(path):
            response = self._client.request(method, path, json=body)
        if response.status_code not in allowed:
            self._check(response, path)
        return response

    def _check(self, response: httpx.Response, path: str) -> None:
        if response.is_success:
            return
        if response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            given = "not the one that is wanted" if self._has_key else "not given"
            raise CommandError(
                f"--api-key is {given} at {self._url} ({response.status_code}): allowed is the "
                "server's own, also as OPENAI_API_KEY."
            )
        raise self._not_expected(path, _status(response))

    def _parsed(self, kind: type[Reply], response: httpx.Response, path: str) -> Reply:
        try:
            return kind.model_validate_json(response.content)
        except ValidationError:
            raise self._not_expected(path, response.text) from None

    def _not_expected(self, path: str, got: str) -> CommandError:
        words = one_line(got) or "an empty page"
        return wrong_value(
            "URL", self._url, f"a server that answers {path} as vLLM does, not with: {words}"
        )

    @contextmanager
    def _trouble(self, path: str) -> Iterator[None]:
        """Says in one sentence what went wrong on the way to the server or back."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            words = one_line(str(error)) or "no answer"
            raise wrong_value("URL", self._url, f"a server that can be reached ({words})") from None
        except httpx.TimeoutException:
            raise wrong_value(
                "--timeout-s", self._timeout_s, f"more than the server needs to answer {path}"
            ) from None
        except httpx.HTTPError as error:
            words = one_line(str(error)) or type(error).__name__
            raise wrong_value(
                "URL", self._url, f"a server that answers {path} over HTTP to the end ({words})"
            ) from None


def _status(response: httpx.Response) -> str:
    message = error_message(response.text)
    return f"{response.status_code} {message or response.reason_phrase}".rstrip()


def _events(response: httpx.Response) -> Iterator[str]:
    for line in response.iter_lines():
        data = line.removeprefix(_EVENT).strip()
        if line.startswith(_EVENT) and data != _LAST_EVENT:
            yield data
