"""Batches that a server of spool version 1 left uncertain: it noted the process id of the backend, no transaction."""

from collections.abc import Iterable

import psycopg

# True once the backend has ended: it had before, or it was terminated and has ended.
_END_BACKEND = """
SELECT coalesce(bool_and(pg_terminate_backend(pid, 5000)), true) FROM pg_stat_activity
 WHERE pid = %s AND pid <> pg_backend_pid() AND application_name LIKE 'seestack-ingest%%'
"""


async def end_backends(connection: psycopg.AsyncConnection, pids: Iterable[int]) -> None:
    """End the backends that may still store such batches. Raises psycopg.Error."""
    for pid in pids:
        if await (await connection.execute(_END_BACKEND, (pid,))).fetchone() != (True,):
            raise psycopg.OperationalError(f"backend {pid} does not end")
