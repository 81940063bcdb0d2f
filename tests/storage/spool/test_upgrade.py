"""A spool outlives an upgrade: what earlier versions acknowledged is stored by later ones, once."""

import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from storage.errors import SpoolError
from storage.spool.file import FILE
from storage.spool.spool import Spool
from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_encoding import copy_data
from storage.writing.row_form import RowForm
from tests.storage.event_loop import EventLoop
from tests.storage.rows import encoded, rows_by_id, stored_traces
from tests.storage.spool.test_drain import Drain
from tests.storage.spool.version_1 import BACKEND_PID, ROWS, create_its_project, lay_down

FORM = HTTP_REQUESTS.form
OF_VERSION_1 = RowForm.parse(
    "http_requests (received_at timestamptz, project_id uuid, id uuid, timestamp timestamptz, duration_ms bigint, "
    "request_size bigint, response_size bigint, status_code smallint, direction request_direction, method text, "
    "host text, path text, trace_id text, user_id text, error_fingerprint text)"
)
SPACIOUS = 2**30
# As servers of version 1 add and mark batches, whose file is open while a newer server brings it up to date.
OLD_APPEND = "INSERT INTO batches (spooled_at, row_count, data, claim, claim_body) VALUES (?, ?, ?, ?, ?)"
OLD_MARK = "INSERT OR REPLACE INTO doubts (position, backend_pid) VALUES (?, ?)"


@pytest.fixture
def old_spool(tmp_path: Path) -> Spool:
    lay_down(tmp_path)
    return Spool(tmp_path, max_bytes=SPACIOUS)


@pytest.mark.one_postgres("batches of version 1 are brought into the form of now there, see tests/citus")
def test_what_version_1_acknowledged_is_stored_once(
    loop: EventLoop, connection: psycopg.Connection, migrated_url: str, old_spool: Spool
) -> None:
    create_its_project(connection, old_spool.folder)
    lot = old_spool.oldest(SPACIOUS)
    (stored,) = (spooled.batch for spooled in lot if b"doubt-stored" in spooled.batch.data)
    with connection.cursor() as cursor, cursor.copy(stored.form.copy_statement.encode()) as copy:
        copy.write(copy_data([stored.data]))
    drain = Drain(loop, old_spool, migrated_url)
    while drain.drain():
        continue
    drain.close()
    assert Counter(stored_traces(connection)) == ROWS
    assert len({row["id"] for row in rows_by_id(connection)}) == sum(ROWS.values())
    assert connection.execute("SELECT count(*) FROM idempotency_keys").fetchone() == (1,)
    assert (old_spool.status().batches, old_spool.status().refused) == (0, 1)


def test_a_file_of_version_1_keeps_everything(old_spool: Spool) -> None:
    lot = old_spool.oldest(SPACIOUS)
    assert [spooled.batch.rows for spooled in lot] == list(ROWS.values())
    assert [spooled.backend_pid for spooled in lot] == [0, 0, BACKEND_PID, BACKEND_PID, 0]
    assert {spooled.batch.form for spooled in lot} == {OF_VERSION_1}
    assert [row["trace_id"] for spooled in lot for row in OF_VERSION_1.decode(spooled.batch.data)] == [
        trace for trace, rows in ROWS.items() for _ in range(rows)
    ]


def test_several_processes_bring_a_file_up_to_date_at_once(tmp_path: Path) -> None:
    lay_down(tmp_path)
    with ThreadPoolExecutor(8) as executor:
        spools = list(executor.map(lambda _: Spool(tmp_path, max_bytes=SPACIOUS), range(8)))
    assert [spool.status().batches for spool in spools] == [len(ROWS)] * 8


def test_a_running_server_of_version_1_goes_on_adding_but_drains_no_more(tmp_path: Path) -> None:
    lay_down(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as old:
        spool = Spool(tmp_path, max_bytes=SPACIOUS)
        batch = encoded(2)
        position = old.execute(OLD_APPEND, (0.0, batch.rows, batch.data, None, None)).lastrowid
        with pytest.raises(sqlite3.IntegrityError, match="stop the older one"):
            old.execute(OLD_MARK, (position, 4711))
    assert spool.oldest(SPACIOUS)[-1].batch == batch._replace(form=OF_VERSION_1)


def test_each_lot_is_of_one_form(spool: Spool) -> None:
    other = RowForm("http_request_rows", (*FORM.columns, ("protocol_version", "text")))
    batches = [encoded(1), encoded(2), encoded(3)._replace(form=other), encoded(4)]
    spool.append(batches)
    seen = []
    while lot := spool.oldest(SPACIOUS):
        seen.append([spooled.batch for spooled in lot])
        spool.remove(lot)
    assert seen == [batches[:2], batches[2:3], batches[3:]]


@pytest.mark.one_postgres("Citus takes no COPY with a condition; nodes have a writer each, see tests/citus")
def test_batches_of_several_forms_are_drained(
    loop: EventLoop, connection: psycopg.Connection, migrated_url: str, spool: Spool
) -> None:
    """A later version has one column more; what it and this one spooled is stored by either."""
    connection.execute("ALTER TABLE http_request_rows ADD COLUMN protocol_version text")
    later = encoded(2)
    with_version = b"".join(
        (len(FORM.columns) + 1).to_bytes(2, "big") + line + (3).to_bytes(4, "big") + b"1.1"
        for line in split_rows(later.data)
    )
    form = RowForm("http_request_rows", (*FORM.columns, ("protocol_version", "text")))
    spool.append([encoded(1), later._replace(data=with_version, form=form), encoded(3)])
    drain = Drain(loop, spool, migrated_url)
    while drain.drain():
        continue
    drain.close()
    versions = connection.execute("SELECT protocol_version FROM http_request_rows").fetchall()
    assert versions.count(("1.1",)) == 2
    assert len(rows_by_id(connection)) == 6


def split_rows(data: bytes) -> list[bytes]:
    """Return the rows of encoded data, each without its count of columns."""
    rows, start = [], 0
    while start < len(data):
        offset = start + 2
        for _ in FORM.columns:
            length = int.from_bytes(data[offset : offset + 4], "big", signed=True)
            offset += 4 + max(length, 0)
        rows.append(data[start + 2 : offset])
        start = offset
    return rows


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    Spool(tmp_path, max_bytes=SPACIOUS).close()
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(SpoolError, match="newer version"):
        Spool(tmp_path, max_bytes=SPACIOUS)
