"""A batch as a caller sent it: what both protocols translate to before anything is checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

# A field of the batch, equivalent to the header Idempotency-Key.
IDEMPOTENCY_FIELD: Final = "idempotencyKey"


class NotAnArray:
    """Stands for a `requests` value that is not an array, which only JSON can have."""


@dataclass(frozen=True, slots=True)
class RawItems:
    """The items of a batch as columns, by the names of FIELDS. None stands for absent, and for null in JSON.

    A timestamp is an int (microseconds since 1970-01-01 UTC), a Violation that says why it is none, or None; the others
    are what the caller sent. `not_objects` are the positions of items that are not objects; their
    column values are None.
    """

    count: int
    columns: Mapping[str, Sequence[object]]
    not_objects: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class RawBatch:
    """A decoded but unchecked batch, with the idempotency key in it."""

    project_id: object
    items: RawItems | type[NotAnArray] | None
    idempotency_key: object = None
