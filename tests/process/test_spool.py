"""The spool in crashes: what was acknowledged while the database was down is stored once."""

import os
import signal
from pathlib import Path

import psycopg
import pytest

from tests.process.database import Database
from tests.process.embedded import new_folder, postgres_processes
from tests.process.polling import children_of, kill, wait_until
from tests.process.traffic import Traffic
from tests.running_server import RunningServer, create_key, run_command, start_server

# A COPY of the drain waits for the holder of the lock, after all its rows were sent.
HOLD_DRAIN_UP = """
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF current_setting('application_name') = 'seestack-ingest spool' THEN
        PERFORM pg_advisory_xact_lock(1);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER waiting AFTER INSERT ON http_request_rows EXECUTE FUNCTION wait();
"""
LOCK = "SELECT pg_advisory_lock(1)"
UNLOCK = "SELECT pg_advisory_unlock(1)"
_HELD_UP = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@pytest.mark.one_postgres("a Postgres that is stopped and started; of nodes, see tests/citus")
def test_killing_the_server_in_an_outage_and_while_it_drains_loses_and_doubles_nothing(
    data_folder: Path, tmp_path: Path
) -> None:
    with Database(new_folder(data_folder)) as database:
        key = create_key(database.url)
        with psycopg.connect(database.url) as connection:
            connection.execute(HOLD_DRAIN_UP)
        with start_server(database.url, "--data-dir", str(tmp_path), key=key) as server, Traffic(server) as traffic:
            traffic.wait_for_acknowledgements(5)
            database.stop()
            traffic.wait_for_acknowledgements(5)
            kill_whole(server)
        database.start()
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute(LOCK)
            with start_server(database.url, "--data-dir", str(tmp_path), key=key) as server:
                wait_until(lambda: is_drain_held_up(connection), "the spool is being emptied")
                kill_whole(server)
            # What the dead server has left at work commits now.
            connection.execute(UNLOCK)
        with start_server(database.url, "--data-dir", str(tmp_path), key=key):
            assert_drained_whole(traffic, database, tmp_path)


@pytest.mark.one_postgres("a Postgres that is stopped and started; of nodes, see tests/citus")
def test_batches_that_a_hung_database_was_committing_are_stored_once(data_folder: Path, tmp_path: Path) -> None:
    folder = new_folder(data_folder)
    with Database(folder) as database, start_server(database.url, "--data-dir", str(tmp_path)) as server:
        with Traffic(server) as traffic:
            traffic.wait_for_acknowledgements(5)
            hanging = postgres_processes(folder)
            try:
                for pid in hanging:
                    os.kill(pid, signal.SIGSTOP)
                # The first ones are those that Postgres may commit when it goes on.
                traffic.wait_for_acknowledgements(1)
            finally:
                for pid in hanging:
                    os.kill(pid, signal.SIGCONT)
            traffic.wait_for_acknowledgements(5)
        assert_drained_whole(traffic, database, tmp_path)


def kill_whole(server: RunningServer) -> None:
    """Kill every process of a server."""
    kill([server.process.pid, *children_of(server.process.pid)])


def is_drain_held_up(connection: psycopg.Connection) -> bool:
    """Tell whether a COPY of the drain waits for the lock."""
    return connection.execute(_HELD_UP).fetchone() == (1,)


def assert_drained_whole(traffic: Traffic, database: Database, folder: Path) -> None:
    """Wait for the empty spool, and check what is stored."""
    run_command("spool", "drain", "--data-dir", str(folder), database_url=database.url)
    traffic.assert_stored_whole(database.url)
