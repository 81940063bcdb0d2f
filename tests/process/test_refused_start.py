"""A later start, whose keys and spool are known, tells a mistake in the URL from an outage."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.database import connect
from storage.database_identity import location_of, read_identity
from storage.keys.api_keys import valid_keys
from storage.keys.snapshot import KeySnapshot
from storage.spool.folders import assign_folder
from tests.cli.failing import fail_command
from tests.process.own_postgres import PASSWORD, OwnPostgres, start_own_postgres
from tests.running_server import FREE_PORTS, create_key

pytestmark = pytest.mark.one_postgres("a Postgres of its own, with its roles")


@pytest.fixture(scope="module")
def own(data_folder: Path) -> Iterator[OwnPostgres]:
    with start_own_postgres(data_folder) as own:
        yield own


@pytest.fixture
def folder(own: OwnPostgres, tmp_path: Path) -> Path:
    """A data folder that knows keys, as after an earlier start."""
    create_key(own.url())
    with connect(own.url()) as connection:
        spool_folder = assign_folder(tmp_path, read_identity(connection), location_of(own.url()))
        KeySnapshot(spool_folder).save(valid_keys(connection, 10))
    return tmp_path


@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [
        (PASSWORD, "HIDDEN", "operator"),
        ("/postgres?", "/nowhere?", "nowhere"),
        ("operator:", "nobody:", "nobody"),
        ("sslmode=verify-full", "sslmode=disable", "pg_hba.conf"),
    ],
)
def test_what_a_person_must_mend_keeps_the_server_from_starting(
    own: OwnPostgres, folder: Path, right: str, wrong: str, named: str
) -> None:
    url = own.url().replace(right, wrong)
    failure = fail_command("serve", *FREE_PORTS, "--data-dir", str(folder), database_url=url)
    assert failure.exit_code == 1
    assert named in failure.line
    assert "HIDDEN" not in failure.line
