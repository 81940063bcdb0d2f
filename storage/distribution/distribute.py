"""Spreading the tables of a database over the nodes of Citus."""

from pathlib import Path

import psycopg

from storage.database import durable_transaction
from storage.distribution.catalogue import is_distributed
from storage.errors import SchemaError
from storage.migrations import ADVISORY_LOCK

_LOCK = "SELECT pg_advisory_xact_lock(%s)"
_HAS_CITUS = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"
_HAS_ROWS_BEFORE = "SELECT to_regclass('http_requests_before') IS NOT NULL"
_DISTRIBUTE = Path(__file__).with_name("distribute.sql")


def distribute(connection: psycopg.Connection) -> bool:
    """Spread the tables, and tell whether that was yet to be done. All rows are copied, which writers wait for.

    The schema must be up to date, and the connection one to the coordinator. Raises SchemaError.
    """
    if is_distributed(connection):
        return False
    if connection.execute(_HAS_CITUS).fetchone() != (True,):
        raise SchemaError("the database has no extension `citus`: CREATE EXTENSION it on all nodes, and add them")
    if connection.execute(_HAS_ROWS_BEFORE).fetchone() == (True,):
        raise SchemaError("rows of an earlier version must be moved first: run `migrate` without SEESTACK_DISTRIBUTED")
    with durable_transaction(connection):
        connection.execute(_LOCK, (ADVISORY_LOCK,))
        if is_distributed(connection):
            return False
        connection.execute(_DISTRIBUTE.read_bytes())
    return True


def require_whole(connection: psycopg.Connection) -> None:
    """Raise SchemaError when the database is distributed."""
    if is_distributed(connection):
        raise SchemaError("the database is distributed by Citus: set SEESTACK_DISTRIBUTED=citus")
