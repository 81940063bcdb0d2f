"""The `.proto` file and the columns have the fields of the one table."""

from google.protobuf.descriptor import FieldDescriptor

from seestack.ingest.v1 import ingest_pb2
from server.contract.fields import EXAMPLE, FIELDS
from server.contract.rules import Integer, StatusCode, Timestamp
from storage.writing.http_requests import HTTP_REQUESTS, to_sent
from storage.writing.row_form import Value

FIELD_NAMES = [field.name for field in FIELDS]
OWN_COLUMNS = {
    "timestamp", "status_code", "method", "host", "path", "user_id", "error_fingerprint",
}  # fmt: skip
PROTO = ingest_pb2.HttpRequest.DESCRIPTOR


def test_the_message_has_the_fields_under_both_names() -> None:
    assert [field.name for field in PROTO.fields] == FIELD_NAMES
    assert [field.json_name for field in PROTO.fields] == [field.json_name for field in FIELDS]


def test_the_messages_types_are_those_of_the_rules() -> None:
    for field in FIELDS:
        described = PROTO.fields_by_name[field.name]
        if isinstance(field.rule, Timestamp):
            assert described.message_type is not None
            assert described.message_type.full_name == "google.protobuf.Timestamp"
        elif isinstance(field.rule, StatusCode):
            assert described.type == FieldDescriptor.TYPE_INT32
        elif isinstance(field.rule, Integer):
            assert described.type == FieldDescriptor.TYPE_INT64
        else:
            assert described.type == FieldDescriptor.TYPE_STRING


def test_absence_can_be_told_where_it_differs_from_the_default() -> None:
    for field in FIELDS:
        is_told = not field.rule.required or isinstance(field.rule, Integer | Timestamp)
        assert PROTO.fields_by_name[field.name].has_presence is is_told, field.name


def test_every_field_has_a_column_that_may_be_null_where_the_field_may_be_absent() -> None:
    """Some fields have several columns, which `to_sent` puts together."""
    of_fields = {column.name: column.nullable for column in HTTP_REQUESTS.columns if column.name in OWN_COLUMNS}
    assert of_fields == {field.name: not field.rule.required for field in FIELDS if field.name in OWN_COLUMNS}
    row: dict[str, Value] = dict.fromkeys(name for name, _ in HTTP_REQUESTS.form.columns)
    assert to_sent(row).keys() - {"id", "project"} == set(FIELD_NAMES)


def test_the_example_meets_the_rules() -> None:
    for field in FIELDS:
        assert field.json_name in EXAMPLE or not field.rule.required
        if field.example is not None and not isinstance(field.rule, Timestamp):
            assert field.rule.examine(field.example) == field.example
