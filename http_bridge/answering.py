"""What all answers have in common: their headers, and how a refusal is sent."""

from collections.abc import Iterator

from http_bridge.cors import Cors
from http_bridge.http1.greenlets import wait
from http_bridge.http_request import HttpRequest
from http_bridge.rate_limit_headers import rate_limit_headers
from http_bridge.responses import Answer, failure
from server.contract.identifiers import REQUEST_ID_HEADER
from server.errors import IngestError

# A refused body up to this many times the limit is read and dropped: a client that is still sending when the
# connection closes never sees why.
_DISCARD_FACTOR = 16


class Answering:
    """Makes refusals, and the headers that come on top of an answer's own."""

    def __init__(self, cors: Cors, max_body_bytes: int) -> None:
        self._cors = cors
        self._most_discarded = max_body_bytes * _DISCARD_FACTOR

    def refuse(self, request: HttpRequest, error: IngestError) -> Answer:
        """Return the answer of a request that is refused; what is left of its body is read first, and dropped."""
        if not request.body.awaits_continue:
            wait(request.body.discard(self._most_discarded))
        return failure(error, request.record.request_id)

    def headers(self, request: HttpRequest) -> Iterator[tuple[str, str]]:
        """Return the headers that each answer carries: the request id, the limits of its key, and those of CORS."""
        yield REQUEST_ID_HEADER, request.record.request_id
        if request.usage is not None:
            yield from rate_limit_headers(request.usage).items()
        if request.environ["PATH_INFO"].startswith("/ingest/"):
            yield from self._cors.headers(request.environ)
