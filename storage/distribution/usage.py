"""How large a distributed database is, on all nodes together."""

import psycopg

from storage.distribution.catalogue import is_distributed
from storage.usage import Database, describe_database

# The coordinator describes itself. A node that is down tells nothing.
_OF_NODES = """
SELECT coalesce(sum(split_part(result, ' ', 1)::bigint), 0)::bigint,
       coalesce(sum(split_part(result, ' ', 2)::bigint), 0)::bigint
  FROM run_command_on_workers(
       $$SELECT pg_database_size(current_database()) || ' ' || count(*)
           FROM pg_stat_activity WHERE datname = current_database()$$)
 WHERE success
"""


def describe_everywhere(connection: psycopg.Connection) -> Database:
    """Return what the database says of itself, with the bytes and connections of all nodes that are up."""
    of_coordinator = describe_database(connection)
    if not is_distributed(connection):
        return of_coordinator
    size_bytes, connections = connection.execute(_OF_NODES).fetchone() or (0, 0)
    return Database(
        of_coordinator.version, of_coordinator.size_bytes + size_bytes, of_coordinator.connections + connections
    )
