"""Request bodies: read within the size limit, unpacked, and from JSON to the service layer's terms."""

import zlib
from functools import lru_cache
from typing import Any

import msgspec
from werkzeug.http import parse_options_header

from http_bridge.http1.environ import Environ
from http_bridge.http1.request_body import RequestBody
from server.contract.batch import InvalidTimestamp, NotAnArray, RawBatch, RawItems
from server.contract.timestamps import parse_rfc3339_column
from server.errors import MalformedRequestError, UnsupportedMediaTypeError, ValidationFailedError
from server.service import IngestService

JSON = "application/json"
# RFC 9110, 8.4.1.3: x-gzip is the same as gzip.
_GZIP = frozenset({"gzip", "x-gzip"})
_GZIP_WINDOW = 16 + zlib.MAX_WBITS

# A refused body up to this many times the limit is read and dropped: a client that is still sending when the
# connection closes never sees why.
_DRAIN_FACTOR = 16
_CHUNK_BYTES = 2**16


class _Item(msgspec.Struct, rename="camel", gc=False):
    """An item of the body; the fields are those of server.contract.batch.FIELDS, in that order, of any type yet."""

    trace_id: Any = None
    direction: Any = None
    method: Any = None
    host: Any = None
    path: Any = None
    status_code: Any = None
    duration_ms: Any = None
    request_size: Any = None
    response_size: Any = None
    user_id: Any = None
    error_fingerprint: Any = None
    timestamp: Any = None


class _Body(msgspec.Struct, rename="camel"):
    project_id: Any = None
    requests: list[_Item] | None = None


class _UncheckedBody(msgspec.Struct, rename="camel"):
    project_id: Any = None
    requests: Any = None


_decode = msgspec.json.Decoder(_Body).decode
_decode_unchecked = msgspec.json.Decoder(_UncheckedBody).decode


def read_body(environ: Environ, service: IngestService) -> bytes:
    """Return the body of a request, unpacked.

    Raises UnsupportedMediaTypeError, PayloadTooLargeError (for the size as sent and as unpacked), and
    MalformedRequestError for broken gzip.
    """
    if not _is_json(environ.get("CONTENT_TYPE", "")):
        raise UnsupportedMediaTypeError
    encoding = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if encoding and encoding not in _GZIP:
        raise UnsupportedMediaTypeError("Content-Encoding must be gzip or absent")
    service.check_size(int(environ.get("CONTENT_LENGTH", 0)))
    stream: RequestBody = environ["wsgi.input"]
    body = stream.read(service.max_body_bytes + 1)
    service.check_size(len(body))
    if encoding:
        body = _unpack(body, service.max_body_bytes + 1)
        service.check_size(len(body))
    return body


def drain_body(environ: Environ, service: IngestService) -> None:
    """Read what is left of a refused request's body, within bounds, unless the client waits for `100 Continue`."""
    stream: RequestBody = environ["wsgi.input"]
    if not stream.awaits_continue:
        left = service.max_body_bytes * _DRAIN_FACTOR
        while left > 0 and (chunk := _drain(stream)):
            left -= len(chunk)


def decode_batch(body: bytes) -> RawBatch:
    """Decode a body.

    Raises MalformedRequestError when it is not JSON in UTF-8 (RFC 8259), ValidationFailedError when it is no object.
    """
    try:
        if not body.isascii():
            body.decode()  # values of unknown fields are skipped undecoded
        try:
            decoded = _decode(body)
        except msgspec.ValidationError:
            return _decode_unusual(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequestError from error
    items = decoded.requests
    return RawBatch(decoded.project_id, None if items is None else _to_columns(items))


def _decode_unusual(body: bytes) -> RawBatch:
    """Decode JSON whose structure is not that of a batch, keeping what can be told apart of it."""
    try:
        decoded = _decode_unchecked(body)
    except msgspec.ValidationError:
        msgspec.json.decode(body)  # a number that fits nothing makes it malformed, too
        raise ValidationFailedError({"body": "must be an object"}) from None
    if not isinstance(decoded.requests, list):
        return RawBatch(decoded.project_id, NotAnArray if decoded.requests is not None else None)
    not_objects = frozenset(index for index, item in enumerate(decoded.requests) if not isinstance(item, dict))
    items = [msgspec.convert(item if isinstance(item, dict) else {}, _Item) for item in decoded.requests]
    return RawBatch(decoded.project_id, _to_columns(items, not_objects))


def _to_columns(items: list[_Item], not_objects: frozenset[int] = frozenset()) -> RawItems:
    columns: list[Any] = list(zip(*map(msgspec.structs.astuple, items), strict=True))
    if columns:
        columns[-1] = _to_timestamps(columns[-1])
    return RawItems(len(items), columns, not_objects)


def _to_timestamps(values: tuple[Any, ...]) -> list[int | type[InvalidTimestamp] | None]:
    try:
        parsed = parse_rfc3339_column(values)
    except TypeError:
        parsed = [None]
    return [_to_timestamp(value) for value in values] if None in parsed else parsed  # type: ignore[return-value]


def _to_timestamp(value: object) -> int | type[InvalidTimestamp] | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    parsed = parse_rfc3339_column([value])[0] if isinstance(value, str) else None
    return InvalidTimestamp if parsed is None else parsed


@lru_cache(64)
def _is_json(content_type: str) -> bool:
    return parse_options_header(content_type)[0].lower() == JSON


def _unpack(packed: bytes, size: int) -> bytes:
    """Return at most `size` bytes of gzip data, which may have several members (RFC 1952, 2.2)."""
    unpacked: list[bytes] = []
    while packed and size > 0:
        member = zlib.decompressobj(_GZIP_WINDOW)
        try:
            unpacked.append(member.decompress(packed, size))
        except zlib.error as error:
            raise MalformedRequestError("Request body is not valid gzip") from error
        size -= len(unpacked[-1])
        if size > 0 and not member.eof:
            raise MalformedRequestError("Request body is not valid gzip")
        packed = member.unused_data
    return b"".join(unpacked)


def _drain(stream: RequestBody) -> bytes:
    try:
        return stream.read(_CHUNK_BYTES)
    except MalformedRequestError:
        return b""
