"""Cross-origin calls from browsers (the Fetch standard, 3.2). The key authorises, so no credentials are allowed."""

from flask import Response

from http_bridge.http1.environ import Environ, find_header

ALLOWED_METHODS = "POST"
# Tracing in browsers adds the last three of its own accord (W3C Trace Context, W3C Baggage).
ALLOWED_HEADERS = (
    "Content-Type, X-SeeStack-Key, X-Request-Id, Idempotency-Key, Content-Encoding, traceparent, tracestate, baggage"
)
EXPOSED_HEADERS = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy"
MAX_AGE_S = 86_400


class Cors:
    """Answers preflights and marks answers, for origins out of a setting: `*`, or a list separated by commas."""

    def __init__(self, origins: str) -> None:
        self._origins = frozenset(origin.strip() for origin in origins.split(","))

    def mark(self, environ: Environ, response: Response) -> None:
        """Add to an answer what lets the page that asked read it."""
        headers = response.headers
        if "*" in self._origins:
            headers.add("Access-Control-Allow-Origin", "*")
        else:
            response.vary.add("Origin")
            origin = find_header(environ, "origin") or ""
            if origin not in self._origins:
                return
            headers.add("Access-Control-Allow-Origin", origin)
        headers.add("Access-Control-Expose-Headers", EXPOSED_HEADERS)

    def preflight(self) -> Response:
        """Return the answer to an OPTIONS request; `mark` is still to be called on it."""
        response = Response(status=204)
        del response.headers["Content-Type"]
        response.headers["Access-Control-Allow-Methods"] = ALLOWED_METHODS
        response.headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
        response.headers["Access-Control-Max-Age"] = str(MAX_AGE_S)
        response.headers["Allow"] = f"{ALLOWED_METHODS}, OPTIONS"
        return response
