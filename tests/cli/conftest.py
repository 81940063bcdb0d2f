"""Databases for commands."""

import pytest

from storage.database import connect
from storage.migrations import migrate


@pytest.fixture
def migrated_url(database_url: str) -> str:
    """A database with the schema, of this test's own."""
    with connect(database_url) as connection:
        migrate(connection)
    return database_url
