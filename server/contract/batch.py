"""A batch as a caller sent it: what both protocols translate to before anything is checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

# Stands beside the items, and is as good as the header Idempotency-Key.
IDEMPOTENCY_FIELD: Final = "idempotencyKey"


class NotAnArray:
    """Stands for a `requests` value that is no array. Only JSON can say that."""


@dataclass(frozen=True, slots=True)
class RawItems:
    """The items of a batch as columns, by the names of FIELDS. None stands for absent, and for null in JSON.

    A timestamp is an int (microseconds since 1970-01-01 UTC), a Violation that says why it is none, or None; the others
    are whatever the caller sent. `not_objects` are the positions that held something else than an object; their
    column values are None.
    """

    count: int
    columns: Mapping[str, Sequence[object]]
    not_objects: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class RawBatch:
    """A decoded but unchecked batch, with the idempotency key that stands in it."""

    project_id: object
    items: RawItems | type[NotAnArray] | None
    idempotency_key: object = None
