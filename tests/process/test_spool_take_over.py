"""`spool take-over`: a server that is gone for good has left batches, and another one stores them, each once."""

import shutil
import signal
import subprocess
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from server.database.spool_drain import drain_lock
from storage.spool.folders import assign_folder
from tests.cli.failing import fail_command
from tests.commands import COMMAND
from tests.process.database import Database
from tests.process.embedded import new_folder
from tests.process.polling import wait_until
from tests.process.test_spool import HOLD_DRAIN_UP, LOCK, UNLOCK, is_drain_held_up, kill_whole
from tests.process.traffic import Traffic
from tests.running_server import create_key, run_command, start_server
from tests.storage.spool.version_1 import lay_down


def take_over(folder: Path, url: str) -> str:
    return run_command("spool", "take-over", str(folder), database_url=url).stdout


@pytest.mark.one_postgres("a Postgres that is stopped and started; of nodes, see tests/citus")
def test_nothing_is_lost_or_doubled_when_it_is_killed_and_run_again_and_on_a_copy(
    data_folder: Path, tmp_path: Path
) -> None:
    folder, copy = tmp_path / "gone", tmp_path / "copy"
    with Database(new_folder(data_folder)) as database:
        key = create_key(database.url)
        with psycopg.connect(database.url) as connection:
            connection.execute(HOLD_DRAIN_UP)
        with start_server(database.url, "--data-dir", str(folder), key=key) as server, Traffic(server) as traffic:
            traffic.wait_for_acknowledgements(5)
            database.stop()
            traffic.wait_for_acknowledgements(5)
            kill_whole(server)
        shutil.copytree(folder, copy)
        database.start()
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute(LOCK)
            with subprocess.Popen(
                [COMMAND, "spool", "take-over", str(folder), "--database-url", database.url]
            ) as process:
                wait_until(lambda: is_drain_held_up(connection), "it stores the batches")
                process.send_signal(signal.SIGKILL)
            # What it has left at work commits now.
            connection.execute(UNLOCK)
        first, second = take_over(folder, database.url), take_over(folder, database.url)
        assert "is empty" in first
        assert "; 0 batches were in it" in second
        assert "is empty; 0 " not in take_over(copy, database.url)
        traffic.assert_stored_whole(database.url)


def test_a_server_that_runs_keeps_its_spool(database_url: str, tmp_path: Path) -> None:
    create_key(database_url)
    lay_down(tmp_path)
    with drain_lock(tmp_path):
        failure = fail_command("spool", "take-over", str(tmp_path), database_url=database_url)
    assert "a server runs on" in failure.line


def test_a_folder_without_a_spool_for_the_database_is_an_error(database_url: str, tmp_path: Path) -> None:
    create_key(database_url)
    nothing = fail_command("spool", "take-over", str(tmp_path), database_url=database_url)
    assert "there is no spool in" in nothing.line
    assign_folder(tmp_path, uuid4(), "elsewhere:5432/a")
    other = fail_command("spool", "take-over", str(tmp_path), database_url=database_url)
    assert "no spool is for this database" in other.line
