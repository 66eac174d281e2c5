"""The server's address, in the forms in which people have it at hand."""

from __future__ import annotations

import httpx

from cpp_chunk.cli.shared.errors import wrong_value

_ALLOWED = "http://HOST:PORT or https://HOST:PORT, such as http://localhost:8000"


def server_url(text: str) -> httpx.URL:
    """The address under which `/v1` and `/metrics` are.

    Args:
        text: with or without a slash or `/v1` at its end.

    Raises:
        CommandError: it is no such address.
    """
    try:
        url = httpx.URL(text.strip())
    except (httpx.InvalidURL, UnicodeError):
        raise wrong_value("URL", text, _ALLOWED) from None
    has_more = url.userinfo or url.query or url.fragment
    if url.scheme not in {"http", "https"} or not url.host or has_more:
        raise wrong_value("URL", text, _ALLOWED)
    path = url.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return url.copy_with(path=path or "/")
