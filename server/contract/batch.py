"""A batch as a caller sent it: what both protocols translate to before anything is checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

# Stands beside the items, and is as good as the header Idempotency-Key.
IDEMPOTENCY_FIELD: Final = "idempotencyKey"
# Fields of an item, as the JSON body spells them, in the order of RawItems.columns.
FIELDS: Final = (
    "traceId",
    "direction",
    "method",
    "host",
    "path",
    "statusCode",
    "durationMs",
    "requestSize",
    "responseSize",
    "userId",
    "errorFingerprint",
    "timestamp",
)


class NotAnArray:
    """Stands for a `requests` value that is no array. Only JSON can say that."""


class InvalidTimestamp:
    """Stands for a timestamp that is no date-time, in the column of `timestamp`."""


@dataclass(frozen=True, slots=True)
class RawItems:
    """The items of a batch as columns, in the order of FIELDS. None stands for absent, and for null in JSON.

    The column of `timestamp` holds int (microseconds since 1970-01-01 UTC), InvalidTimestamp or None; the others
    hold whatever the caller sent. `not_objects` are the positions that held something else than an object; their
    column values are None.
    """

    count: int
    columns: Sequence[Sequence[object]]
    not_objects: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class RawBatch:
    """A decoded but unchecked batch, with the idempotency key that stands in it."""

    project_id: object
    items: RawItems | type[NotAnArray] | None
    idempotency_key: object = None
