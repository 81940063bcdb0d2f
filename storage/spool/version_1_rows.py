"""Rows in the form of spool version 1, for a database whose view of that form takes none: as they are written now."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_encoding import EncodedBatch
from storage.writing.row_form import Value

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DIRECTIONS = ("inbound", "outbound")


def in_present_form(batch: EncodedBatch, numbers: Mapping[UUID, int]) -> EncodedBatch:
    """Return a batch of the former form with the same rows and ids, in the form of now.

    `numbers` are those of the projects that there are, by their ids. Raises ValueError with what cannot be stored.
    """
    rows = batch.form.decode(batch.data)
    if (project_id := rows[0].get("project_id")) is None:
        raise ValueError(f"nothing stores rows of the form {batch.form.definition}")
    number = numbers.get(UUID(str(project_id)))
    if number is None:
        raise ValueError(f"there is no project {project_id}")
    values = {name: [_sent(name, row[name]) for row in rows] for name in rows[0]}
    ids = [UUID(str(row["id"])) for row in rows]
    return HTTP_REQUESTS.encode(number, values, batch.claim, ids=ids)


def _sent(name: str, value: Value) -> Any:
    """Return a stored value as the contract's fields have it."""
    if name == "direction" and value not in _DIRECTIONS:
        raise ValueError(f"there is no direction {value!r}")
    return (value - _UNIX_EPOCH) // _MICROSECOND if isinstance(value, datetime) else value
