"""Request bodies: from JSON to the service layer's terms."""

from collections.abc import Sequence
from typing import Any

import msgspec

from http_bridge.json_position import describe_position
from server.contract.batch import NotAnArray, RawBatch, RawItems
from server.contract.fields import FIELDS
from server.contract.rules import NOT_A_DATE_TIME, Timestamp, Violation
from server.contract.timestamps import parse_rfc3339, parse_rfc3339_column
from server.errors import MalformedRequestError, ValidationFailedError

# An item of the body, its fields of any type yet.
_NAMES = [field.name for field in FIELDS]
_TIMESTAMPS = [field.name for field in FIELDS if isinstance(field.rule, Timestamp)]
_Item = msgspec.defstruct("_Item", [(name, Any, None) for name in _NAMES], rename="camel", gc=False)


class _Body(msgspec.Struct, rename="camel"):
    project_id: Any = None
    requests: list[_Item] | None = None  # type: ignore[valid-type]
    idempotency_key: Any = None


class _UncheckedBody(msgspec.Struct, rename="camel"):
    project_id: Any = None
    requests: Any = None
    idempotency_key: Any = None


_decode = msgspec.json.Decoder(_Body).decode
_decode_unchecked = msgspec.json.Decoder(_UncheckedBody).decode


def decode_batch(body: bytes) -> RawBatch:
    """Decode a body.

    Raises MalformedRequestError, with the position, when it is not JSON in UTF-8 (RFC 8259); ValidationFailedError when
    it is not an object.
    """
    try:
        if not body.isascii():
            body.decode()  # values of unknown fields are skipped undecoded
        try:
            decoded = _decode(body)
        except msgspec.ValidationError:
            return _decode_unusual(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRequestError(details={"body": describe_position(body, error)}) from error
    items = decoded.requests
    return RawBatch(decoded.project_id, None if items is None else _to_columns(items), decoded.idempotency_key)


def _decode_unusual(body: bytes) -> RawBatch:
    """Decode JSON whose structure is not that of a batch, keeping what validation can report."""
    try:
        decoded = _decode_unchecked(body)
    except msgspec.ValidationError:
        msgspec.json.decode(body)  # a number that is too large makes it malformed, too
        raise ValidationFailedError({"body": "must be an object"}) from None
    if not isinstance(decoded.requests, list):
        items = NotAnArray if decoded.requests is not None else None
        return RawBatch(decoded.project_id, items, decoded.idempotency_key)
    not_objects = frozenset(index for index, item in enumerate(decoded.requests) if not isinstance(item, dict))
    objects = [msgspec.convert(item if isinstance(item, dict) else {}, _Item) for item in decoded.requests]
    return RawBatch(decoded.project_id, _to_columns(objects, not_objects), decoded.idempotency_key)


def _to_columns(items: list[msgspec.Struct], not_objects: frozenset[int] = frozenset()) -> RawItems:
    if not items:
        return RawItems(0, {})
    values = zip(*map(msgspec.structs.astuple, items), strict=True)
    columns: dict[str, Sequence[Any]] = dict(zip(_NAMES, values, strict=True))
    for name in _TIMESTAMPS:
        columns[name] = _to_timestamps(columns[name])
    return RawItems(len(items), columns, not_objects)


def _to_timestamps(values: Sequence[Any]) -> Sequence[int | Violation | None]:
    try:
        return parse_rfc3339_column(values)
    except TypeError:
        return [_to_timestamp(value) for value in values]


def _to_timestamp(value: object) -> int | Violation | None:
    if isinstance(value, str):
        return parse_rfc3339(value)
    return None if value is None else NOT_A_DATE_TIME
