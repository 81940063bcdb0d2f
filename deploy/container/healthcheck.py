"""The container's health check: exit code 0 when the server in it can keep a batch (`GET /readyz`)."""

import http.client
import os
import ssl
import sys

TIMEOUT_S = 10.0  # while Postgres is down, an answer takes some seconds


def connect() -> http.client.HTTPConnection:
    """Return a connection to the HTTP port of this container's server."""
    port = int(os.environ.get("SEESTACK_HTTP_PORT") or 8080)
    if not os.environ.get("SEESTACK_TLS_CERT"):
        return http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    # The certificate is for the name that clients use, not for this address.
    context = ssl._create_unverified_context()  # noqa: S323
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=context)


def is_ready() -> bool:
    """Ask the server."""
    try:
        connection = connect()
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False


if __name__ == "__main__":
    sys.exit(not is_ready())
