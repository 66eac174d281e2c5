"""`cpp-chunk calibrate`: what it sends, what it shows, and what it says when something is wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from command import complaint, run
from cpp_chunk.cli.calibrate import server_calibration as calibration
from stand_in_server import FIRST_ERROR, REFITTED_ERROR, StandIn, metrics_page, running_stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setattr(calibration, "_POLL_INTERVAL_S", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with running_stand_in() as stand_in:
        yield stand_in


def test_before_and_after(server: StandIn) -> None:
    outcome = run("calibrate", server.url, "--prompt-tokens", 2500, "--prompts", 3)
    assert outcome.code == 0, outcome.err
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in outcome.out.splitlines()
        if line.startswith("│")
    ]
    assert [row[0] for row in rows] == ["1 (before)", "3 (after)"]
    assert [row[2:] for row in rows] == [
        ["25.0 %", "3", "1", "dynamic"],
        ["6.2 %", "3", "1", "dynamic"],
    ]
    assert all(row[1].endswith(" ms") for row in rows)
    assert "3 prompts of 2,500 tokens, tiny" in outcome.out
    assert outcome.err == ""


def test_json_has_every_prompt(server: StandIn) -> None:
    result = run("calibrate", server.url, "--prompt-tokens", 1500, "--json").json
    assert {key: result[key] for key in ("url", "model", "prompt_tokens", "seed")} == {
        "url": server.url,
        "model": "tiny",
        "prompt_tokens": 1500,
        "seed": 0,
    }
    prompts = result["prompts"]
    # The stand-in waits 10 ms before it answers.
    assert all(prompt.pop("ttft_ms") >= 10 for prompt in prompts)
    shown = {"measured_steps": 2, "refits_total": 1, "dynamic": True}
    errors = [FIRST_ERROR, *[REFITTED_ERROR] * 4]
    assert prompts == [{"prediction_error_ratio": error, **shown} for error in errors]


def test_prompts_differ_and_have_the_length(server: StandIn) -> None:
    run("calibrate", server.url, "--prompt-tokens", "2k", "--prompts", 4)
    assert [len(prompt) for prompt in server.prompts] == [2048] * 4
    # Different from the first block on: nothing of one is in the prefix cache for another.
    assert len({tuple(prompt[:16]) for prompt in server.prompts}) == 4
    assert len({body["cache_salt"] for body in server.bodies}) == len(server.bodies)


def test_the_seed_decides_the_prompts(server: StandIn) -> None:
    for seed in (7, 7, 8):
        run("calibrate", server.url, "--prompt-tokens", 64, "--prompts", 2, "--seed", seed)
    first, again, other = (server.prompts[at : at + 2] for at in (0, 2, 4))
    assert first == again
    assert first != other


def test_one_token_each_and_one_at_a_time(server: StandIn) -> None:
    run("calibrate", server.url, "--prompt-tokens", 64, "--prompts", 3)
    assert server.most_at_once == 1
    for body in server.bodies:
        assert (body["max_tokens"], body["temperature"]) == (1, 0)


def test_a_long_prompt_is_tokenized_in_pieces(server: StandIn) -> None:
    server.max_model_len = 100_000
    run("calibrate", server.url, "--prompt-tokens", 90_000, "--prompts", 2)
    assert [len(prompt) for prompt in server.prompts] == [90_000] * 2


def test_default_length_is_16k_or_what_fits(server: StandIn) -> None:
    for max_model_len, expected in ((8192, 8191), (40_000, 16_384)):
        server.max_model_len = max_model_len
        result = run("calibrate", server.url, "--prompts", 2, "--json").json
        assert result["prompt_tokens"] == expected
        assert len(server.prompts[-1]) == expected


def test_short_requests_end_once_nothing_more_comes_in(server: StandIn) -> None:
    run("calibrate", server.url, "--prompt-tokens", 64, "--prompts", 2)
    # One before the first prompt; after each, one that brings its steps and one that brings none.
    assert server.flushes == 1 + 2 + 2


def test_no_step_is_measured(server: StandIn) -> None:
    server.measures = False
    arguments = ("calibrate", server.url, "--prompt-tokens", 64, "--prompts", 2)
    prompts = run(*arguments, "--json").json["prompts"]
    assert [prompt["prediction_error_ratio"] for prompt in prompts] == [None, None]
    assert run(*arguments).out.count("│                - │") == 2


def test_figures_that_a_server_need_not_show(server: StandIn) -> None:
    error = "cpp_chunk:prediction_error_ratio"
    server.page = f"{error}_count 4.0\n{error}_sum 1.0\n"
    arguments = ("calibrate", server.url, "--prompt-tokens", 64, "--prompts", 2)
    prompt = run(*arguments, "--json").json["prompts"][0]
    assert (prompt["refits_total"], prompt["dynamic"]) == (None, None)


def test_fixed_chunks_on_one_engine_are_fixed(server: StandIn) -> None:
    server.page = metrics_page([], 0) + 'cpp_chunk:dynamic{engine="1"} 0.0\n'
    arguments = ("calibrate", server.url, "--prompt-tokens", 64, "--prompts", 2)
    assert run(*arguments, "--json").json["prompts"][0]["dynamic"] is False
    assert "fixed" in run(*arguments).out


@pytest.mark.parametrize("ending", ["/", "/v1", "/v1/"])
def test_endings_of_the_address(server: StandIn, ending: str) -> None:
    result = run(
        "calibrate", server.url + ending, "--prompt-tokens", 64, "--prompts", 2, "--json"
    ).json
    assert result["url"] == server.url


def test_one_of_several_models(server: StandIn) -> None:
    server.models = ("one", "two")
    arguments = ("calibrate", server.url, "--prompt-tokens", 64, "--prompts", 2)
    assert complaint(*arguments) == (
        "--model is not given: allowed is one of those served, one, two."
    )
    assert complaint(*arguments, "--model", "three") == (
        "--model is 'three': allowed is one of those served, one, two."
    )
    assert run(*arguments, "--model", "two", "--json").json["model"] == "two"
    assert {body["model"] for body in server.bodies} == {"two"}


def test_api_key(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    server.api_key = "secret"
    arguments = ("calibrate", server.url, "--prompt-tokens", 64, "--prompts", 2)
    allowed = "(401): allowed is the server's own, also as OPENAI_API_KEY."
    assert complaint(*arguments) == f"--api-key is not given at {server.url} {allowed}"
    assert complaint(*arguments, "--api-key", "wrong") == (
        f"--api-key is not the one that is wanted at {server.url} {allowed}"
    )
    assert complaint(*arguments, "--api-key", "schlüssel") == (
        "--api-key is not printable ASCII: allowed are such characters only."
    )
    assert run(*arguments, "--api-key", "secret").code == 0
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert run(*arguments).code == 0


@pytest.mark.parametrize(
    "address",
    [
        "localhost:8000",
        "ftp://localhost",
        "http://",
        "http://host:port",
        "http://a/?b=c",
        "http://u:p@a",
    ],
)
def test_wrong_addresses(address: str) -> None:
    assert complaint("calibrate", address) == (
        f"URL is {address!r}: allowed is http://HOST:PORT or https://HOST:PORT, such as "
        "http://localhost:8000."
    )


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        sentence = complaint("calibrate", url)
    assert sentence.startswith(f"URL is {url!r}: allowed is a server that can be reached (")


def test_not_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"220 mail ready\r\n")
                connection.recv(1 << 16)

        thread = threading.Thread(target=greet)
        thread.start()
        sentence = complaint("calibrate", url)
        thread.join()
    start = f"URL is {url!r}: allowed is a server that answers /v1/models over HTTP to the end ("
    assert sentence.startswith(start)


def test_not_openai(server: StandIn) -> None:
    server.missing_paths = ("/v1/models",)
    assert complaint("calibrate", server.url) == (
        f"URL is {server.url!r}: allowed is a server that answers /v1/models as vLLM does, not "
        "with: 404 Not Found."
    )


def test_not_vllm(server: StandIn) -> None:
    server.missing_paths = ("/tokenize",)
    assert complaint("calibrate", server.url) == (
        f"URL is {server.url!r}: allowed is a vLLM server, which answers /tokenize, not 404 Not "
        "Found."
    )
    server.missing_paths = ()
    server.tokenizes_empty = True
    assert complaint("calibrate", server.url).endswith(
        "allowed is a server that makes tokens of a text."
    )


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (
            "vllm:prompt_tokens_total 12.0\n",
            (
                "a server where cpp-chunk is switched on (profiling_chunk_config.enabled): this "
                "one's /metrics page has no cpp_chunk figures."
            ),
        ),
        (
            "cpp_chunk:refits_total 1.0\n",
            (
                "a server whose cpp-chunk shows cpp_chunk:prediction_error_ratio on /metrics: the "
                "one there is too old."
            ),
        ),
        ("<html>no figures</html>\n", "a server whose /metrics is a Prometheus page."),
    ],
)
def test_a_server_without_our_figures_gets_no_prompt(
    server: StandIn, page: str, words: str
) -> None:
    server.page = page
    assert complaint("calibrate", server.url) == f"URL is {server.url!r}: allowed is {words}"
    assert server.bodies == []


def test_prompt_longer_than_the_model_takes(server: StandIn) -> None:
    assert complaint("calibrate", server.url, "--prompt-tokens", "8k") == (
        "--prompt-tokens is 8192: allowed is at most 8191, one below the server's max_model_len."
    )
    assert server.bodies == []


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        ("status", "as vLLM does, not with: 500 the engine is dead."),
        ("event", "as vLLM does, not with: out of memory."),
        ("rubbish", 'as vLLM does, not with: {"choices": 3}.'),
        ("no token", "with a token, not with none."),
        ("hang up", "over HTTP to the end (Server disconnected without sending a response)."),
    ],
)
def test_a_request_fails_midway(server: StandIn, failure: str, words: str) -> None:
    server.fails_at_prompt = 2
    server.failure = failure
    assert complaint("calibrate", server.url, "--prompt-tokens", 64) == (
        f"Prompt 2 of 5 failed: URL is {server.url!r}: allowed is a server that answers "
        f"/v1/completions {words}"
    )


def test_an_answer_takes_too_long(server: StandIn) -> None:
    server.fails_at_prompt = 1
    server.failure = "silence"
    assert complaint("calibrate", server.url, "--prompt-tokens", 64, "--timeout-s", 0.2) == (
        "Prompt 1 of 5 failed: --timeout-s is 0.2: allowed is more than the server needs to answer "
        "/v1/completions."
    )


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--prompts", "1", "a whole number from 2 to 10000"),
        ("--prompt-tokens", "15", "a number of tokens from 16, such as 4096 or 4k"),
        ("--timeout-s", "0", "a finite number of seconds above 0"),
    ],
)
def test_wrong_values(option: str, value: str, allowed: str) -> None:
    assert complaint("calibrate", "http://localhost:8000", option, value) == (
        f"{option} is {value!r}: allowed is {allowed}."
    )


def test_interrupted(server: StandIn) -> None:
    server.fails_at_prompt = 1
    server.failure = "silence"
    command = (sys.executable, "-m", "cpp_chunk.cli", "calibrate", server.url)
    with subprocess.Popen(
        [*command, "--prompt-tokens", "64"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    ) as process:
        assert server.under_way.wait(60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
