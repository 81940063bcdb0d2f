"""Real roles of Postgres: what a server needs to be allowed, and what `check` and `serve` say when it is not."""

import json
import re
from uuid import uuid4

import psycopg
import pytest

import storage.database
from storage.database import connect
from storage.embedded.server import EmbeddedServer
from storage.errors import UnsupportedDatabaseError
from tests.batches import make_batch
from tests.cli.failing import fail_command
from tests.commands import complete_command
from tests.process.test_backup import make_due
from tests.project.repository import ROOT
from tests.running_server import FREE_PORTS, create_key, run_command, start_server

pytestmark = pytest.mark.one_postgres("what a role needs to be granted; of a cluster, it must own the tables")


@pytest.fixture
def role(postgres: EmbeddedServer) -> str:
    """A role that may log in and nothing else."""
    name = f"role_{uuid4().hex[:8]}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN".encode())
    return name


def as_role(url: str, role: str) -> str:
    """Return the URL for another role."""
    return url.replace("postgres@", f"{role}@", 1)


def documented_grants(role: str) -> str:
    """Return the statements that docs/operating.md has to paste, for a role of that name."""
    page = (ROOT / "docs" / "operating.md").read_text()
    found = re.search(r"```sql\n(GRANT .*?)```", page, re.DOTALL)
    assert found
    return found[1].replace("seestack_server", role)


def grant_documented(url: str, role: str) -> None:
    with connect(url) as connection:
        connection.execute(documented_grants(role).encode())


def check_of(url: str, *flags: str) -> tuple[bool, str]:
    done = complete_command("check", "--json", *FREE_PORTS, "--database-url", url, *flags)
    found = json.loads(done.stdout)["checks"]["database"]
    return found["usable"], found["message"]


def test_a_server_needs_the_documented_grants_and_no_more(database_url: str, role: str) -> None:
    key = create_key(database_url)
    grant_documented(database_url, role)
    url = as_role(database_url, role)
    usable, message = check_of(url)
    assert usable
    assert f"role {role} may not make partitions" in message
    with start_server(url, key=key) as server:
        sent = make_batch(server.project_id, traceId="once")
        assert [server.post(sent, Idempotency_Key="one").status for _ in range(2)] == [202, 202]
        assert server.post(make_batch(server.project_id, traceId="free")).status == 202
        assert server.request("GET", "/readyz").status == 200
        server.stop()
        log = server.log.read_text()
    with psycopg.connect(database_url) as connection:
        stored = connection.execute("SELECT trace_id FROM http_requests ORDER BY 1").fetchall()
    assert stored == [("free",), ("once",)]
    assert log.count("seestack-ingest migrate") == 1
    assert "permission denied" not in log


def test_without_partitions_rows_are_stored_in_the_default_one(database_url: str, role: str) -> None:
    key = create_key(database_url)
    grant_documented(database_url, role)
    due = make_due(database_url)
    of_that_day = f"{due[-8:-4]}-{due[-4:-2]}-{due[-2:]}T12:00:00Z"
    with start_server(as_role(database_url, role), key=key) as server:
        batch = make_batch(server.project_id, traceId="due", timestamp=of_that_day)
        assert server.post(batch).status == 202
    with connect(database_url) as connection:
        (table,) = connection.execute("SELECT tableoid::regclass::text FROM http_request_rows").fetchone() or ("",)
    assert table == "http_request_rows_ahead"
    run_command("migrate", database_url=database_url)
    with connect(database_url) as connection:
        (table,) = connection.execute("SELECT tableoid::regclass::text FROM http_request_rows").fetchone() or ("",)
    assert table == due


def test_a_missing_grant_is_named_by_check_and_serve(database_url: str, role: str) -> None:
    create_key(database_url)
    grant_documented(database_url, role)
    with connect(database_url) as connection:
        connection.execute(f"REVOKE INSERT ON http_request_rows FROM {role}".encode())
    url = as_role(database_url, role)
    usable, message = check_of(url)
    assert not usable
    assert "GRANT INSERT ON http_request_rows" in message
    failure = fail_command("serve", *FREE_PORTS, database_url=url)
    assert failure.exit_code == 1
    assert "GRANT INSERT ON http_request_rows" in failure.line


def test_a_role_without_the_right_to_create_tables(empty_database_url: str, role: str) -> None:
    url = as_role(empty_database_url, role)
    usable, message = check_of(url)
    assert not usable
    assert "GRANT CREATE ON SCHEMA public" in message
    for command in (("serve", *FREE_PORTS), ("migrate",)):
        failure = fail_command(*command, database_url=url)
        assert failure.exit_code == 1
        assert "GRANT CREATE ON SCHEMA public" in failure.line
    with connect(empty_database_url) as connection:
        connection.execute(f"GRANT CREATE ON SCHEMA public TO {role}".encode())
    usable, message = check_of(url)
    assert usable
    assert "will make the schema" in message
    with connect(empty_database_url) as connection:
        assert connection.execute("SELECT to_regclass('schema_migrations')").fetchone() == (None,)
    with start_server(url, key=("", "")):
        assert check_of(url)[0]
    with connect(empty_database_url) as connection:
        assert connection.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'projects'").fetchone() == (role,)


def test_a_migration_that_only_the_owner_may_apply_is_found(database_url: str, role: str) -> None:
    create_key(database_url)
    grant_documented(database_url, role)
    with connect(database_url) as connection:
        connection.execute("DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)")
    usable, message = check_of(as_role(database_url, role))
    assert not usable
    assert "`seestack-ingest migrate` as their owner" in message
    assert "migrate" in fail_command("serve", *FREE_PORTS, database_url=as_role(database_url, role)).line


def test_a_read_only_database_is_not_usable(database_url: str) -> None:
    usable, message = check_of(f"{database_url}&options=-c%20default_transaction_read_only%3Don")
    assert not usable
    assert "read-only" in message


def test_more_connections_than_postgres_allows_are_not_usable(database_url: str, role: str) -> None:
    create_key(database_url)
    grant_documented(database_url, role)
    with connect(database_url) as connection:
        connection.execute(f"ALTER ROLE {role} CONNECTION LIMIT 12".encode())
    url = as_role(database_url, role)
    usable, message = check_of(url, "--http-workers", "1", "--grpc-workers", "1")
    assert not usable
    assert "allows this role 12" in message
    needed = int(re.findall(r"may open (\d+) connections", message)[0])
    with connect(database_url) as connection:
        connection.execute(f"ALTER ROLE {role} CONNECTION LIMIT {needed}".encode())
    assert check_of(url, "--http-workers", "1", "--grpc-workers", "1")[0]


def test_a_postgres_that_is_too_old_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.database, "MIN_POSTGRES_MAJOR", 99)
    with (
        pytest.raises(UnsupportedDatabaseError, match=r"this is Postgres \d+\.\d+; 99 or newer"),
        connect(database_url),
    ):
        pass
