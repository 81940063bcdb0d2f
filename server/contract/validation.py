"""Checks a batch against the ingest contract and returns what is to be stored of it."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

from server.contract.batch import FIELDS, NotAnArray, RawBatch, RawItems
from server.contract.identifiers import parse_uuid
from server.contract.rules import NOT_NULL, RULES, Violation
from server.errors import ValidationFailedError
from storage.writing.row_encoding import HttpRequestColumns

MAX_ITEMS = 100
MAX_DETAILS = 100

_SIZES = (FIELDS.index("requestSize"), FIELDS.index("responseSize"))


def validate_batch(batch: RawBatch, project_id: UUID, *, lenient: bool = False) -> HttpRequestColumns:
    """Return the values to store of a batch that was sent with a key of `project_id`.

    Lenient admits an absent project id and takes absent sizes for 0. Raises ValidationFailedError listing every
    violated field, the first MAX_DETAILS of them, in the order of the body.
    """
    violations: dict[str, str] = {}
    if message := _project_violation(batch.project_id, project_id, lenient=lenient):
        violations["projectId"] = message
    columns: list[Any] = []
    if message := _items_violation(batch.items):
        violations["requests"] = message
    elif isinstance(batch.items, RawItems):
        items = _with_default_sizes(batch.items) if lenient else batch.items
        columns, wrong = _check_columns(items)
        violations.update(islice(wrong, MAX_DETAILS - len(violations)))
    if violations:
        raise ValidationFailedError(violations)
    return HttpRequestColumns(*columns)


def _project_violation(value: object, project_id: UUID, *, lenient: bool) -> str | None:
    if value is None:
        return None if lenient else NOT_NULL
    sent_id = parse_uuid(value) if isinstance(value, str) else None
    if sent_id is None:
        return "must be a valid UUID"
    return None if sent_id == project_id else "must match the project of the API key"


def _items_violation(items: RawItems | type[NotAnArray] | None) -> str | None:
    if items is None:
        return NOT_NULL
    if not isinstance(items, RawItems):
        return "must be an array"
    if items.count == 0:
        return "must not be empty"
    return None if items.count <= MAX_ITEMS else f"size must be between 1 and {MAX_ITEMS}"


def _with_default_sizes(items: RawItems) -> RawItems:
    columns = list(items.columns)
    for index in _SIZES:
        columns[index] = [0 if value is None else value for value in columns[index]]
    return RawItems(items.count, columns, items.not_objects)


def _check_columns(items: RawItems) -> tuple[list[Sequence[object]], Iterator[tuple[str, str]]]:
    """Return the columns as stored, and the violated field paths with their messages."""
    stored: list[Sequence[object]] = []
    suspects: list[tuple[str, Sequence[object]]] = []
    for (name, rule), column in zip(RULES.items(), items.columns, strict=True):
        accepted = rule.accept(column)
        if accepted is None:
            accepted = [rule.examine(value) for value in column]
            suspects.append((name, accepted))
        stored.append(accepted)
    return stored, _violations(items, suspects)


def _violations(items: RawItems, suspects: Sequence[tuple[str, Sequence[object]]]) -> Iterator[tuple[str, str]]:
    if not suspects:
        return
    for index in range(items.count):
        if index in items.not_objects:
            yield f"requests[{index}]", "must be an object"
            continue
        for name, values in suspects:
            value = values[index]
            if isinstance(value, Violation):
                yield f"requests[{index}].{name}", value.message
