"""From a parsed request head to a WSGI environment (PEP 3333)."""

import asyncio
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

import httptools

Environ: TypeAlias = dict[str, Any]
Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

_WITHOUT_PREFIX = frozenset({"CONTENT_TYPE", "CONTENT_LENGTH"})


def connection_environ(transport: asyncio.BaseTransport) -> Environ:
    """Return the part of the environment that all requests of a connection share."""
    own, peer = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
    return {
        "SCRIPT_NAME": "",
        "SERVER_NAME": own[0],
        "SERVER_PORT": str(own[1]),
        "REMOTE_ADDR": peer[0] if peer else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https" if transport.get_extra_info("ssl_object") else "http",
        "wsgi.errors": sys.stderr,
        "wsgi.input_terminated": True,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def request_environ(shared: Environ, method: bytes, url: bytes, version: str, headers: Headers) -> Environ:
    """Return the environment of a request, without its `wsgi.input`. Raises httptools.HttpParserError."""
    path, query = _split(url)
    environ = shared.copy()
    environ["REQUEST_METHOD"] = method.decode("latin-1")
    environ["PATH_INFO"] = path
    environ["QUERY_STRING"] = query
    environ["SERVER_PROTOCOL"] = f"HTTP/{version}"
    for name, value in headers:
        key = _variable(name)
        text = value.decode("latin-1").strip(" \t")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ


def find_header(environ: Environ, name: str) -> str | None:
    """Return the value of a header of a request, None when it has none."""
    value: str | None = environ.get(_variable(name.encode()))
    return value


@lru_cache(256)
def _split(url: bytes) -> tuple[str, str]:
    """Return path and query of a request target in whichever form (RFC 9112, 3.2)."""
    if url == b"*":
        return "*", ""
    parsed = httptools.parse_url(url)
    return unquote_to_bytes(parsed.path or b"/").decode("latin-1"), (parsed.query or b"").decode("latin-1")


@lru_cache(256)
def _variable(name: bytes) -> str:
    # "-" becomes "_", so a header with "_" in its name could pass for another one.
    variable = name.decode("latin-1").upper().replace("_", "\0").replace("-", "_")
    return variable if variable in _WITHOUT_PREFIX else f"HTTP_{variable}"
