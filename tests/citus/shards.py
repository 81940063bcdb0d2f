"""Where the shards of a distributed database are, and moving them."""

import psycopg

from storage.distribution.catalogue import Node, Placement, read_placement


def placement_of(database_url: str) -> Placement:
    """Return where rows are."""
    with psycopg.connect(database_url) as connection:
        return read_placement(connection)


def move_shard(database_url: str, shard: int, source: Node, target: Node) -> None:
    """Move a shard from one node to another while it is used."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT citus_move_shard_placement(%s, %s, %s, %s, %s, 'force_logical')",
            (shard, source.host, source.port, target.host, target.port),
        )
