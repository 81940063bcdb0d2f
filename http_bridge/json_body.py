"""Request bodies: from JSON to the service layer's terms."""

from typing import Any

import msgspec

from server.contract.batch import InvalidTimestamp, NotAnArray, RawBatch, RawItems
from server.contract.timestamps import parse_rfc3339_column
from server.errors import MalformedRequestError, ValidationFailedError


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
    idempotency_key: Any = None


class _UncheckedBody(msgspec.Struct, rename="camel"):
    project_id: Any = None
    requests: Any = None
    idempotency_key: Any = None


_decode = msgspec.json.Decoder(_Body).decode
_decode_unchecked = msgspec.json.Decoder(_UncheckedBody).decode


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
    return RawBatch(decoded.project_id, None if items is None else _to_columns(items), decoded.idempotency_key)


def _decode_unusual(body: bytes) -> RawBatch:
    """Decode JSON whose structure is not that of a batch, keeping what can be told apart of it."""
    try:
        decoded = _decode_unchecked(body)
    except msgspec.ValidationError:
        msgspec.json.decode(body)  # a number that fits nothing makes it malformed, too
        raise ValidationFailedError({"body": "must be an object"}) from None
    if not isinstance(decoded.requests, list):
        items = NotAnArray if decoded.requests is not None else None
        return RawBatch(decoded.project_id, items, decoded.idempotency_key)
    not_objects = frozenset(index for index, item in enumerate(decoded.requests) if not isinstance(item, dict))
    objects = [msgspec.convert(item if isinstance(item, dict) else {}, _Item) for item in decoded.requests]
    return RawBatch(decoded.project_id, _to_columns(objects, not_objects), decoded.idempotency_key)


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
