"""The form of rows: as text, and decoding what was encoded."""

from uuid import uuid4

import pytest

from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_form import RowForm
from tests.storage.rows import make_columns, microseconds

FORM = HTTP_REQUESTS.form


def test_rows_are_decoded_to_what_was_encoded() -> None:
    project, columns = uuid4(), make_columns(3, user_id="ü", duration_ms=2**63 - 1, status_code=-1)
    rows = FORM.decode(HTTP_REQUESTS.encode(project, columns).data)
    assert [row["trace_id"] for row in rows] == columns["trace_id"]
    first = rows[0]
    assert (first["project_id"], first["user_id"], first["error_fingerprint"]) == (project, "ü", None)
    assert (first["duration_ms"], first["status_code"], first["direction"]) == (2**63 - 1, -1, "inbound")
    assert [microseconds(row["timestamp"]) for row in rows] == columns["timestamp"]  # type: ignore[arg-type]


def test_a_moment_that_no_calendar_has_is_a_number() -> None:
    (row,) = FORM.decode(HTTP_REQUESTS.encode(uuid4(), make_columns(timestamp=2**62)).data)
    assert isinstance(row["timestamp"], int)


def test_a_form_is_read_back_from_its_text() -> None:
    assert RowForm.parse(FORM.definition) == FORM
    assert '"timestamp"' in FORM.copy_statement


@pytest.mark.parametrize(
    "definition", ["", "http_requests ()", "a (b c) FROM STDIN; DROP TABLE d", 'a ("b" c)', "a (b)"]
)
def test_what_is_no_form_is_refused(definition: str) -> None:
    with pytest.raises(ValueError, match="not a form"):
        RowForm.parse(definition)


@pytest.mark.parametrize(
    "data", [b"\x00", b"\x00\x01\x00\x00\x00\x00", HTTP_REQUESTS.encode(uuid4(), make_columns()).data[:-1]]
)
def test_what_are_no_rows_of_the_form_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"columns|not rows"):
        FORM.decode(data)
