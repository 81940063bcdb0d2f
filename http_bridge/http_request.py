"""An HTTP request to store a batch: its headers, and its body read within the size limit and unpacked."""

from functools import lru_cache

from werkzeug.http import parse_options_header

from http_bridge.http1.environ import Environ, find_header
from http_bridge.http1.request_body import RequestBody
from http_bridge.json_body import decode_batch
from server.compiled.encoder import CompiledBatch, CompiledEncoder
from server.contract.batch import RawBatch
from server.contract.idempotency import IDEMPOTENCY_HEADER
from server.contract.identifiers import REQUEST_ID_HEADER, choose_request_id
from server.errors import MalformedRequestError, PayloadTooLargeError, UnsupportedMediaTypeError
from server.observability.metrics import Protocol
from server.observability.request_report import RequestRecord
from server.request import IngestRequest
from server.unpacking import GZIP, BrokenDataError, unpack
from storage.keys.api_keys import ApiKey

JSON = "application/json"
# RFC 9110, 8.4.1.3: x-gzip is the same as gzip.
_GZIP = frozenset({"gzip", "x-gzip"})


class HttpRequest(IngestRequest):
    """Any request to the application, though only those to store a batch are handed to the service."""

    def __init__(self, environ: Environ) -> None:
        request_id = choose_request_id(find_header(environ, REQUEST_ID_HEADER))
        target = {"method": environ["REQUEST_METHOD"], "path": environ["PATH_INFO"]}
        super().__init__(RequestRecord(Protocol.HTTP, request_id, target))
        self.idempotency_key = find_header(environ, IDEMPOTENCY_HEADER)
        self.body: RequestBody = environ["wsgi.input"]
        self.environ = environ

    def header(self, name: str) -> str | None:
        """See IngestRequest."""
        return find_header(self.environ, name)

    async def read(self, limit: int) -> bytes:
        """Return the body, unpacked, or just more than `limit` bytes of it.

        Raises UnsupportedMediaTypeError, MalformedRequestError for broken gzip, and PayloadTooLargeError for what is
        too large as it was sent.
        """
        if not _is_json(self.environ.get("CONTENT_TYPE", "")):
            raise UnsupportedMediaTypeError
        encoding = self.environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
        if encoding and encoding not in _GZIP:
            raise UnsupportedMediaTypeError("Content-Encoding must be gzip or absent")
        if int(self.environ.get("CONTENT_LENGTH", 0)) > limit:
            raise PayloadTooLargeError(limit)
        body = await self.body.read(limit + 1)
        if not encoding:
            return body
        if len(body) > limit:
            raise PayloadTooLargeError(limit)
        try:
            return unpack(body, GZIP, limit + 1)
        except BrokenDataError as error:
            raise MalformedRequestError("Request body is not valid gzip") from error

    def encode(self, encoder: CompiledEncoder, body: bytes, key: ApiKey) -> CompiledBatch | None:
        """See IngestRequest."""
        return encoder.encode_json(body, key)

    def decode(self, body: bytes) -> RawBatch:
        """See IngestRequest."""
        return decode_batch(body)


@lru_cache(64)
def _is_json(content_type: str) -> bool:
    return parse_options_header(content_type)[0].lower() == JSON
