"""Connections to where the rows of a project are, by which tests store some beside any server."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from storage.database import connect
from storage.distribution.catalogue import is_distributed, read_placement
from storage.distribution.shards import ShardConnection
from storage.keys.projects import find_project


@contextmanager
def connect_to_rows(url: str, project_id: str) -> Iterator[tuple[psycopg.Connection, int]]:
    """Open a connection, whose statements about `http_request_rows` are about the shard of a project if there are any.

    Yields it with the project's number.
    """
    with connect(url) as connection:
        number = find_project(connection, project_id).number
        shard = read_placement(connection).shard_of(number) if is_distributed(connection) else None
        if shard is None:
            yield connection, number
            return
    with connect(shard.node.url(url), ShardConnection) as of_node:
        of_node.execute("SET citus.enable_manual_changes_to_shards = on")
        of_node.shard = shard
        yield of_node, number
