"""The form of rows: as text, and decoding what was encoded."""

import pytest

from storage.writing.http_requests import HTTP_REQUESTS, to_sent
from storage.writing.row_form import RowForm
from tests.storage.rows import PROJECT_NUMBER, make_columns, microseconds

FORM = HTTP_REQUESTS.form


def test_rows_are_decoded_to_what_was_encoded() -> None:
    columns = make_columns(3, user_id="ü", duration_ms=2**63 - 1, request_size=2**31 - 1, status_code=-1)
    columns["trace_id"][1] = "00f067aa0ba902b74bf92f3577b34da6"
    columns["trace_id"][2] = "00f067aa-0ba9-02b7-4bf9-2f3577b34da6"
    rows = FORM.decode(HTTP_REQUESTS.encode(7, columns).data)
    assert {row["project"] for row in rows} == {7}
    assert {row["long_request_size"] for row in rows} == {None}
    sent = [to_sent(row) for row in rows]
    assert [{name: row[name] for name in columns.keys() - {"timestamp"}} for row in sent] == [
        {name: values[position] for name, values in columns.items() if name != "timestamp"} for position in range(3)
    ]
    assert [microseconds(row["timestamp"]) for row in rows] == columns["timestamp"]  # type: ignore[arg-type]


def test_a_moment_that_no_calendar_has_is_a_number() -> None:
    (row,) = FORM.decode(HTTP_REQUESTS.encode(PROJECT_NUMBER, make_columns(timestamp=2**62)).data)
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
    "data", [b"\x00", b"\x00\x01\x00\x00\x00\x00", HTTP_REQUESTS.encode(PROJECT_NUMBER, make_columns()).data[:-1]]
)
def test_what_are_no_rows_of_the_form_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"columns|not rows"):
        FORM.decode(data)
