"""The thread that empties the spool outlives whatever goes wrong with its file, and says so."""

import logging
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest

from server.database.spool_drain import DrainFailure, SpoolDrain
from server.settings import load_settings
from storage.database import connect
from storage.database_identity import location_of, read_identity
from storage.spool.file import FILE
from storage.spool.folders import assign_folder
from storage.spool.spool import Spool
from tests.process.polling import wait_until
from tests.storage.rows import count_rows, encoded


def test_a_drain_whose_file_fails_says_so_and_goes_on_when_it_is_repaired(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(database_url) as connection:
        location = location_of(database_url)
        folder = assign_folder(tmp_path, read_identity(connection), location)
        with closing(Spool(folder, max_bytes=2**30)) as spool:
            spool.append([encoded(2)])
        whole = (tmp_path / FILE).read_bytes()
        drain = SpoolDrain(load_settings(database_url=database_url, data_dir=tmp_path))
        try:
            wait_until(lambda: count_rows(connection) == 2, "it drains")
            with caplog.at_level(logging.WARNING):
                replace(tmp_path, b"no database" * 1_000)
                wait_until(lambda: drain.failures[DrainFailure.SPOOL] >= 2, "it fails")
                assert "the spool cannot be drained" in caplog.text
                connection.execute("TRUNCATE http_request_rows")
                replace(tmp_path, whole)
                wait_until(lambda: count_rows(connection) == 2, "it drains again")
                wait_until(lambda: "is being drained again" in caplog.text, "it says so")
        finally:
            drain.stop()


def replace(folder: Path, content: bytes) -> None:
    """Put another file in the place of the spool's."""
    for path in folder.glob(f"{FILE}-*"):
        path.unlink()
    (folder / "new").write_bytes(content)
    (folder / "new").replace(folder / FILE)


def test_a_drain_that_ends_in_another_database_fails_as_such(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The database was replaced by another one while the server ran."""
    with connect(database_url) as connection, closing(Spool(tmp_path, max_bytes=2**30)) as spool:
        assert spool.adopt(read_identity(connection), location_of(database_url))
        spool.append([encoded(2)])
        connection.execute("UPDATE database_identity SET id = %s", (uuid4(),))
        drain = SpoolDrain(load_settings(database_url=database_url, data_dir=tmp_path))
        try:
            wait_until(lambda: drain.failures[DrainFailure.OWNER] >= 1, "it fails")
        finally:
            drain.stop()
        assert "belongs to another database" in caplog.text
        assert (count_rows(connection), spool.status().batches) == (0, 1)


def test_a_drain_counts_how_often_the_database_fails(database_url: str, tmp_path: Path) -> None:
    with connect(database_url) as connection:
        with closing(Spool(tmp_path, max_bytes=2**30)) as spool:
            assert spool.adopt(read_identity(connection), location_of(database_url))
            spool.append([encoded(2)])
        connection.execute("ALTER TABLE http_request_rows RENAME TO hidden")
        drain = SpoolDrain(load_settings(database_url=database_url, data_dir=tmp_path))
        try:
            wait_until(lambda: drain.failures[DrainFailure.DATABASE] >= 2, "it fails")
            connection.execute("ALTER TABLE hidden RENAME TO http_request_rows")
            wait_until(lambda: count_rows(connection) == 2, "it drains")
        finally:
            drain.stop()
