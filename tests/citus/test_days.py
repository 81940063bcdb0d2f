"""Days of a distributed database: each has a part in every shard, which is closed on its node once it is over."""

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, time, timedelta

import psycopg
import pytest

from server.database.nodes import Readiness, ShardRounds
from storage.closed_days import CLOSING_DELAY, close_days
from storage.database import connect
from storage.distribution.catalogue import Shard
from storage.distribution.shards import ShardConnection
from storage.partitions import ensure_partition, partition_name
from tests.citus.cluster import Cluster
from tests.citus.shards import move_shard, placement_of
from tests.storage.day_rows import TODAY, insert_day_rows

PROJECT = 1  # of the rows that `insert_day_rows` makes
YESTERDAY = TODAY - timedelta(days=1)
LATER = TODAY + timedelta(days=8)
CLOSED_AT = datetime.combine(TODAY, time(), UTC) + CLOSING_DELAY
INSERTED = 3_000

NOT_VACUUMED_FOR_ROWS = ["autovacuum_vacuum_insert_threshold=-1"]
# Citus hides shards from whoever asks pg_class.
SHOW_PARTS = "SET citus.show_shards_for_app_name_prefixes = '*'"
OPTIONS = r"""
SELECT relname, coalesce(reloptions, '{}') FROM pg_class WHERE relkind = 'r' AND relname ~ ('^' || %s || '_\d+$')
"""


@pytest.fixture
def connection(citus: Cluster, database_url: str) -> Iterator[psycopg.Connection]:
    """An autocommit connection to the coordinator, of a database that has rows of yesterday and of today."""
    with connect(database_url) as connection:
        insert_day_rows(connection, YESTERDAY, INSERTED)
        insert_day_rows(connection, TODAY, 1)
        yield connection


def options_of(database_url: str, day: str) -> dict[str, list[str]]:
    """Return the options of all parts of a day, by their names on the nodes."""
    options: dict[str, list[str]] = {}
    for node in placement_of(database_url).nodes:
        with psycopg.connect(node.url(database_url)) as connection:
            connection.execute(SHOW_PARTS)
            options |= dict(connection.execute(OPTIONS, (day,)).fetchall())
    return options


def close_parts(database_url: str) -> list[str]:
    """Close what is over in each shard, and return the names of the parts."""
    closed: list[str] = []

    def close(connection: ShardConnection, shard: Shard) -> None:
        closed.extend(close_days(connection, shard.node.url(database_url), CLOSED_AT))

    with closing(ShardRounds(database_url)) as rounds:
        rounds.make(close, threading.Event())
    return closed


def test_new_rows_set_off_no_vacuum_on_the_nodes(connection: psycopg.Connection, database_url: str) -> None:
    ensure_partition(connection, LATER)
    for day in (TODAY, LATER):
        options = options_of(database_url, partition_name(day))
        assert len(options) == len(placement_of(database_url).shards)
        assert [part for part, its in options.items() if its != NOT_VACUUMED_FOR_ROWS] == []


def test_a_part_is_closed_once_and_may_be_vacuumed_then(connection: psycopg.Connection, database_url: str) -> None:
    (part,) = close_parts(database_url)
    assert part.startswith(partition_name(YESTERDAY))
    may_be_vacuumed = [name for name, its in options_of(database_url, partition_name(YESTERDAY)).items() if not its]
    assert may_be_vacuumed == [part]
    assert all(options_of(database_url, partition_name(TODAY)).values())
    assert close_parts(database_url) == []


def test_a_part_that_was_moved_is_closed_on_its_new_node(connection: psycopg.Connection, database_url: str) -> None:
    (part,) = close_parts(database_url)
    placement = placement_of(database_url)
    shard = placement.shard_of(PROJECT)
    (target,) = [node for node in placement.nodes if node != shard.node]
    move_shard(database_url, shard.number, shard.node, target)
    Readiness(database_url).keep(connection)
    assert close_parts(database_url) == [part]
    assert options_of(database_url, partition_name(YESTERDAY))[part] == []
    assert close_parts(database_url) == []
