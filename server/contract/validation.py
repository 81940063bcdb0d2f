"""Checks a batch against the ingest contract and returns what is to be stored of it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from uuid import UUID

from server.contract.batch import NotAnArray, RawBatch, RawItems
from server.contract.fields import FIELDS
from server.contract.identifiers import parse_uuid
from server.contract.rules import NOT_NULL, Violation
from server.errors import ValidationFailedError
from storage.writing.row_encoding import Values

MAX_ITEMS = 100
MAX_DETAILS = 100

_DEFAULTS = {field.name: field.lenient_default for field in FIELDS if field.lenient_default is not None}


def validate_batch(batch: RawBatch, project_id: UUID, *, lenient: bool = False) -> Values:
    """Return the values to store of a batch that was sent with a key of `project_id`.

    Lenient admits an absent project id, and takes the defaults of the fields that have one. Raises
    ValidationFailedError listing every violated field, the first MAX_DETAILS of them, in the order of the body.
    """
    violations: dict[str, str] = {}
    if message := _project_violation(batch.project_id, project_id, lenient=lenient):
        violations["projectId"] = message
    columns: Values = {}
    if message := _items_violation(batch.items):
        violations["requests"] = message
    elif isinstance(batch.items, RawItems):
        given = _with_defaults(batch.items.columns) if lenient else batch.items.columns
        columns, suspects = _check_columns(given)
        violations.update(islice(_violations(batch.items, suspects), MAX_DETAILS - len(violations)))
    if violations:
        raise ValidationFailedError(violations)
    return columns


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


def _with_defaults(columns: Mapping[str, Sequence[object]]) -> Mapping[str, Sequence[object]]:
    return {
        name: [_DEFAULTS[name] if value is None else value for value in values] if name in _DEFAULTS else values
        for name, values in columns.items()
    }


def _check_columns(columns: Mapping[str, Sequence[object]]) -> tuple[Values, dict[str, Sequence[object]]]:
    """Return the columns as stored, and by JSON name those in which there may be Violations."""
    stored: dict[str, Sequence[object]] = {}
    suspects: dict[str, Sequence[object]] = {}
    for field in FIELDS:
        column = columns[field.name]
        accepted = field.rule.accept(column)
        if accepted is None:
            accepted = suspects[field.json_name] = [field.rule.examine(value) for value in column]
        stored[field.name] = accepted
    return stored, suspects


def _violations(items: RawItems, suspects: Mapping[str, Sequence[object]]) -> Iterator[tuple[str, str]]:
    if not suspects:
        return
    for index in range(items.count):
        if index in items.not_objects:
            yield f"requests[{index}]", "must be an object"
            continue
        for name, values in suspects.items():
            value = values[index]
            if isinstance(value, Violation):
                yield f"requests[{index}].{name}", value.message
