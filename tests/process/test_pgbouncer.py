"""Behind PgBouncer in transaction mode, where each transaction of a connection may be with another backend."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from server.service import IngestService
from tests.batches import make_batch
from tests.process.pgbouncer import POOL_SIZE, PROGRAM, PgBouncer, pgbouncer
from tests.process.scraping import scrape
from tests.process.test_roles import check_of
from tests.process.traffic import Traffic
from tests.running_server import TWO_OF_EACH, Answer, RunningServer, run_command, start_server
from tests.storage.defaults import set_default

pytestmark = [
    pytest.mark.skipif(not PROGRAM.exists(), reason="PgBouncer is not installed"),
    pytest.mark.one_postgres("servers connect to nodes without a pooler"),
]

# Defaults of the database that the server may not leave in effect, and may not change for others.
DEFAULTS = {"synchronous_commit": "off", "datestyle": "SQL, DMY", "timezone": "Asia/Kolkata", "lock_timeout": "7s"}
_NOTE = """
CREATE TABLE noted (synchronous_commit text, lock_timeout text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO noted VALUES (current_setting('synchronous_commit'), current_setting('lock_timeout')); RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT ON http_request_rows EXECUTE FUNCTION note();
"""


@pytest.fixture
def bouncer(data_folder: Path, empty_database_url: str) -> Iterator[PgBouncer]:
    """PgBouncer before a database with unusual defaults."""
    for name, value in DEFAULTS.items():
        set_default(empty_database_url, name, value)
    with pgbouncer(data_folder / f"pgbouncer-{uuid4().hex[:8]}", empty_database_url) as running:
        yield running


def prepare(url: str) -> tuple[str, str]:
    """Make the schema, a project and a key by commands, and return project id and raw key."""
    run_command("migrate", database_url=url)
    run_command("projects", "create", "shop", database_url=url)
    made = json.loads(run_command("keys", "create", "--project", "shop", "--json", database_url=url).stdout)
    return made["projectId"], made["apiKey"]


def settings_of_all_backends(bouncer: PgBouncer) -> list[tuple[str, str]]:
    """Return what clients of the pool find set: as many at once as there are backends."""
    with ExitStack() as stack:
        clients = [stack.enter_context(psycopg.connect(bouncer.url)) for _ in range(POOL_SIZE)]
        query = "SELECT current_setting('synchronous_commit'), current_setting('lock_timeout')"
        return [client.execute(query).fetchone() or ("", "") for client in clients]


def test_everything_works_and_no_setting_leaks(bouncer: PgBouncer, empty_database_url: str) -> None:
    key = prepare(bouncer.url)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(_NOTE)
    usable, message = check_of(bouncer.url)
    assert usable
    assert "behind a connection pooler, which must allow" in message
    with start_server(bouncer.url, *TWO_OF_EACH, key=key) as server:
        with Traffic(server) as traffic:
            traffic.wait_for_acknowledgements(20)
            assert [answer.status for answer in send_twice(server)] == [202, 202]
            assert 4 <= scrape(server).get("database_connections") <= 4 * IngestService.CONNECTIONS
        traffic.assert_stored_whole(empty_database_url)
        assert not any(traffic.failures.values())
        assert (
            settings_of_all_backends(bouncer)
            == [(DEFAULTS["synchronous_commit"], DEFAULTS["lock_timeout"])] * POOL_SIZE
        )
        server.stop()
        assert "WARNING" not in server.log.read_text()
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT DISTINCT * FROM noted").fetchall() == [("on", "4500ms")]
        assert connection.execute("SELECT count(*) FROM http_requests WHERE trace_id = 'twice'").fetchone() == (1,)
    assert json.loads(run_command("keys", "list", "--json", database_url=bouncer.url).stdout)[0]["lastUsedAt"]


def test_what_is_under_way_when_it_is_killed_is_stored_once(bouncer: PgBouncer, empty_database_url: str) -> None:
    key = prepare(bouncer.url)
    with start_server(bouncer.url, key=key) as server:
        with Traffic(server) as traffic:
            for _ in range(3):
                traffic.wait_for_acknowledgements(5)
                bouncer.kill()
                traffic.wait_for_acknowledgements(5)
                bouncer.start()
            traffic.wait_for_acknowledgements(5)
        traffic.assert_stored_whole(empty_database_url)


def send_twice(server: RunningServer) -> list[Answer]:
    batch = make_batch(server.project_id, traceId="twice")
    return [server.post(batch, Idempotency_Key="one") for _ in range(2)]
