"""Cross-origin calls from browsers (the Fetch standard, 3.2). The key authorises, so no credentials are allowed."""

from collections.abc import Sequence

from flask import Response

from http_bridge.http1.environ import Environ, find_header

ALLOWED_METHODS = "POST"
# Tracing in browsers adds the last three of its own accord (W3C Trace Context, W3C Baggage).
ALLOWED_HEADERS = (
    "Content-Type, X-SeeStack-Key, X-Request-Id, Idempotency-Key, Content-Encoding, traceparent, tracestate, baggage"
)
EXPOSED_HEADERS = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy"
MAX_AGE_S = 86_400

_EXPOSED = ("Access-Control-Expose-Headers", EXPOSED_HEADERS)
_FOR_ALL = (("Access-Control-Allow-Origin", "*"), _EXPOSED)
_VARY = ("Vary", "Origin")


class Cors:
    """Answers preflights and gives answers their headers, for origins of a setting: `*`, or a list with commas."""

    def __init__(self, origins: str) -> None:
        self._origins = frozenset(origin.strip() for origin in origins.split(","))
        self._are_all_allowed = "*" in self._origins

    def headers(self, environ: Environ) -> Sequence[tuple[str, str]]:
        """Return the headers that let the page that asked read the answer."""
        if self._are_all_allowed:
            return _FOR_ALL
        origin = find_header(environ, "origin") or ""
        if origin not in self._origins:
            return (_VARY,)
        return (_VARY, ("Access-Control-Allow-Origin", origin), _EXPOSED)

    def preflight(self) -> Response:
        """Return the answer to an OPTIONS request, still without `headers`."""
        response = Response(status=204)
        del response.headers["Content-Type"]
        response.headers["Access-Control-Allow-Methods"] = ALLOWED_METHODS
        response.headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
        response.headers["Access-Control-Max-Age"] = str(MAX_AGE_S)
        response.headers["Allow"] = f"{ALLOWED_METHODS}, OPTIONS"
        return response
