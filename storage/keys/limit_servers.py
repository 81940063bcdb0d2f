"""What servers tell each other about the limits of keys: a row of each server, which all of them read."""

from collections.abc import Mapping, Sequence
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

# By the id of a key, as text: requests and rows a second.
Wanted = Mapping[str, Sequence[float]]

# The parts of a statement see the same rows, those of before it.
_EXCHANGE = """
WITH own AS (
    INSERT INTO limit_servers (id, seen_at, wanted) VALUES (%(id)s, clock_timestamp(), %(wanted)s)
        ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, wanted = excluded.wanted
)
SELECT wanted FROM limit_servers
 WHERE id <> %(id)s AND seen_at > clock_timestamp() - %(age_s)s * interval '1 second'
"""
_LEAVE = "DELETE FROM limit_servers WHERE id = %s"
_FORGET = "DELETE FROM limit_servers WHERE seen_at < clock_timestamp() - interval '1 hour'"


def exchange(connection: psycopg.Connection, server: UUID, wanted: Wanted, age_s: float) -> list[Wanted]:
    """Say what is wanted of a server, and return the same of all others that said so within the last `age_s`."""
    values = {"id": server, "wanted": Jsonb(wanted), "age_s": age_s}
    return [row[0] for row in connection.execute(_EXCHANGE, values).fetchall()]


def leave(connection: psycopg.Connection, server: UUID) -> None:
    """Have the others forget a server at once."""
    connection.execute(_LEAVE, (server,))


def forget_gone(connection: psycopg.Connection) -> None:
    """Remove the rows of servers that have not been there for an hour."""
    connection.execute(_FORGET)
