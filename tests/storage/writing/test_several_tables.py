"""One writer stores batches of several tables, in whatever order they come."""

from itertools import chain, repeat
from uuid import uuid4

import psycopg
import pytest

from storage.errors import BatchRefusedError
from storage.writing.claims import make_claim
from storage.writing.row_encoding import Column, EncodedBatch, RowFormat
from tests.patience import PATIENCE_S
from tests.storage.rows import count_rows, encoded, refused_batch
from tests.storage.submitting import Writer, submit, submit_together

pytestmark = pytest.mark.one_postgres("Citus takes no COPY with a condition; nodes have a writer each, see tests/citus")

_NOTES = RowFormat("notes", (Column("timestamp", "timestamptz"), Column("note", "text")))
_CREATE = """
CREATE TABLE notes (id uuid, project integer, "timestamp" timestamptz, note text)
"""


@pytest.fixture(autouse=True)
def notes(connection: psycopg.Connection) -> None:
    connection.execute(_CREATE)


def encoded_note(*, with_key: bool = False) -> EncodedBatch:
    claim = make_claim(uuid4(), "a key", b"a body") if with_key else None
    return _NOTES.encode(1, {"timestamp": [0], "note": ["a note"]}, claim)


def count_notes(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT count(*) FROM notes WHERE note = 'a note'").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("with_key", [False, True])
def test_batches_that_take_turns_are_all_stored(
    connection: psycopg.Connection, writer: Writer, *, with_key: bool
) -> None:
    batches = [(encoded(), encoded_note(with_key=with_key)) for _ in range(50)]
    stored = submit_together(writer, list(chain.from_iterable(batches)))
    assert [each.result(PATIENCE_S) for each in stored] == list(repeat(1, 100))
    assert (count_rows(connection), count_notes(connection)) == (50, 50)


def test_a_batch_that_is_refused_does_no_harm_to_those_of_the_other_table(
    connection: psycopg.Connection, writer: Writer
) -> None:
    refused, *others = submit_together(writer, [refused_batch(), *(encoded_note() for _ in range(10))])
    assert [each.result(PATIENCE_S) for each in others] == list(repeat(1, 10))
    with pytest.raises(BatchRefusedError):
        refused.result(PATIENCE_S)
    assert submit(writer, encoded()).result(PATIENCE_S) == 1
    assert (count_rows(connection), count_notes(connection)) == (1, 10)
