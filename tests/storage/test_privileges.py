"""What a role lacks is named as GRANT takes it."""

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from storage.database import connect
from storage.errors import SchemaError
from storage.migrations import migrate, missing_migrations
from storage.privileges import SERVER_GRANTS, missing_grants, owns_schema


def grant(connection: psycopg.Connection, role: str) -> None:
    for needed in SERVER_GRANTS:
        connection.execute(f"{needed} TO {role}".encode())


def test_a_role_without_any_lacks_them_all(migrated_url: str, weak_role: str) -> None:
    with connect(make_conninfo(migrated_url, user=weak_role)) as connection:
        assert missing_grants(connection) == list(SERVER_GRANTS)
        assert not owns_schema(connection)
        with pytest.raises(SchemaError, match="GRANT SELECT ON schema_migrations"):
            missing_migrations(connection)


def test_the_one_that_is_missing_is_named(connection: psycopg.Connection, migrated_url: str, weak_role: str) -> None:
    grant(connection, weak_role)
    with connect(make_conninfo(migrated_url, user=weak_role)) as weak:
        for needed in SERVER_GRANTS:
            connection.execute(f"REVOKE {needed.privilege} ON {needed.table} FROM {weak_role}".encode())
            assert missing_grants(weak) == [needed]
            connection.execute(f"{needed} TO {weak_role}".encode())


def test_with_all_of_them_there_is_nothing_to_migrate_and_nothing_is_owned(
    connection: psycopg.Connection, migrated_url: str, weak_role: str
) -> None:
    grant(connection, weak_role)
    with connect(make_conninfo(migrated_url, user=weak_role)) as weak:
        assert missing_grants(weak) == []
        assert migrate(weak) == []
        assert not owns_schema(weak)


def test_an_owner_needs_the_right_to_create_tables_too(
    connection: psycopg.Connection, migrated_url: str, weak_role: str
) -> None:
    connection.execute(f"GRANT postgres TO {weak_role}".encode())
    with connect(make_conninfo(migrated_url, user=weak_role)) as member:
        assert owns_schema(member)
    assert owns_schema(connection)
