"""Which node has which rows, as Citus' own catalogue says, and where the nodes are.

Rows are spread by the hash of their project's number. A shard is a range of hashes; what belongs to it of all tables is
on one node. Citus moves shards when it is told to, so what is read here holds only as long as nodes do not say no.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from storage.distribution.hashing import hash_of

ROWS: Final = "http_request_rows"
_DAY: Final = rf"^{ROWS}_\d{{8}}$"
_IS_DISTRIBUTED = f"""
SELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL
   AND EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('{ROWS}'))
"""
_HAS_SHARDS = f"SELECT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = '{ROWS}'::regclass)"
_SHARDS = f"""
SELECT shard.logicalrelid::regclass::text, shard.shardid, shard.shardminvalue::bigint, placement.placementid,
       node.groupid, node.nodename, node.nodeport
  FROM pg_dist_shard AS shard
  JOIN pg_dist_partition AS part USING (logicalrelid)
  JOIN pg_dist_placement AS placement USING (shardid)
  JOIN pg_dist_node AS node USING (groupid)
 WHERE part.partmethod = 'h' AND placement.shardstate = 1 AND node.noderole = 'primary'
   AND shard.logicalrelid::regclass::text !~ '{_DAY}'
 ORDER BY 3
"""
_NEWEST = "SELECT max(placementid) FROM pg_dist_placement"
_NODES = "SELECT groupid, nodename, nodeport FROM pg_dist_node WHERE noderole = 'primary' AND isactive ORDER BY 1"


class Node(NamedTuple):
    """A Postgres that holds rows. `group` is Citus' number of it, which no other node ever gets."""

    group: int
    host: str
    port: int

    def url(self, url: str) -> str:
        """Return where this node has the database of `url`, which is reached with the same user and settings."""
        parts: dict[str, Any] = {**conninfo_to_dict(url), "host": self.host, "port": self.port}
        parts.pop("hostaddr", None)
        return make_conninfo(**parts)


@dataclass(frozen=True, eq=False)
class Shard:
    """What belongs to a range of hashes, from `least_hash` on: the number of each table's part, and the node."""

    least_hash: int
    node: Node
    placement: int  # a number that changes on the coordinator whenever the shard is moved
    numbers: Mapping[str, int]

    @property
    def number(self) -> int:
        """The number of the rows' part, by which the shard is known."""
        return self.numbers[ROWS]

    def table(self, name: str) -> str:
        """Return the name of a table's part."""
        return f"{name}_{self.numbers[name]}"


@dataclass(frozen=True)
class Placement:
    """All shards, in the order of their hashes, and all nodes, also those that have none."""

    shards: tuple[Shard, ...]
    all_nodes: tuple[Node, ...]

    @cached_property
    def _least_hashes(self) -> list[int]:
        return [shard.least_hash for shard in self.shards]

    def shard_of(self, project: int) -> Shard:
        """Return the shard of the project of that number."""
        return self.shards[bisect_right(self._least_hashes, hash_of(project)) - 1]

    @cached_property
    def nodes(self) -> dict[Node, tuple[Shard, ...]]:
        """The nodes that have shards, with these."""
        nodes = sorted({shard.node for shard in self.shards}, key=lambda node: node.group)
        return {node: tuple(shard for shard in self.shards if shard.node == node) for node in nodes}


def is_distributed(connection: psycopg.Connection) -> bool:
    """Tell whether the rows are distributed. Raises psycopg.Error."""
    if connection.execute(_IS_DISTRIBUTED).fetchone() != (True,):
        return False
    return connection.execute(_HAS_SHARDS).fetchone() == (True,)


def read_placement(connection: psycopg.Connection) -> Placement:
    """Return where rows are, of a database that is distributed; any node may be asked. Raises psycopg.Error."""
    return _placement_of(connection.execute(_SHARDS).fetchall(), connection.execute(_NODES).fetchall())


def newest_placement(connection: psycopg.Connection) -> int:
    """Return a number that the coordinator has raised whenever a shard was made or moved. Raises psycopg.Error."""
    row = connection.execute(_NEWEST).fetchone()
    return int(row[0] or 0) if row else 0


async def read_placement_async(connection: psycopg.AsyncConnection) -> Placement:
    """Return what `read_placement` does."""
    shards = await (await connection.execute(_SHARDS)).fetchall()
    return _placement_of(shards, await (await connection.execute(_NODES)).fetchall())


def _placement_of(rows: Iterable[TupleRow], nodes: Iterable[TupleRow]) -> Placement:
    numbers: dict[int, dict[str, int]] = {}
    places: dict[int, tuple[int, Node]] = {}
    for table, number, least_hash, placement, group, host, port in rows:
        numbers.setdefault(least_hash, {})[table] = number
        if table == ROWS:
            places[least_hash] = (placement, Node(group, host, port))
    return Placement(
        tuple(
            Shard(least_hash, node, placement, numbers[least_hash])
            for least_hash, (placement, node) in sorted(places.items())
        ),
        tuple(map(Node._make, nodes)),
    )
