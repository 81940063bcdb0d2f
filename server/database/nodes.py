"""The nodes of a distributed database: making them ready for rows, and work on each shard in turn."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import psycopg

from server.settings import Settings
from storage.database import connect
from storage.distribution.catalogue import Node, Placement, Shard, newest_placement, read_placement
from storage.distribution.shards import NOT_HERE, ShardConnection, make_ready, shards_on
from storage.errors import StorageError


def coordinator_of(settings: Settings, url: str) -> str | None:
    """Return the URL of the coordinator, which is that of the database, if the settings say that there is one."""
    return url if settings.distributed is not None else None


class ShardRounds:
    """Does something for each shard, on its node, again and again, over one connection to each node."""

    LOOK_INTERVAL_S = 60.0  # after which the catalogue is read again, unless a node said no before

    def __init__(self, url: str) -> None:
        """`url` is the coordinator's."""
        self._url = url
        self._placement: Placement | None = None
        self._looked_at = 0.0
        self._connections: dict[Node, ExitStack] = {}
        self._opened: dict[Node, ShardConnection] = {}

    def make(self, action: "Callable[[ShardConnection, Shard], None]", stopped: threading.Event) -> None:
        """Call `action` once for each shard, whose tables the statements of its connection are about, until stopped.

        A node that fails does not keep the others from their turn; then raises psycopg.Error or StorageError.
        """
        placement = self._look()
        failure: Exception | None = None
        for node in placement.nodes:
            try:
                connected = self._connect(node)
                for shard in shards_on(connected, placement, node):
                    if stopped.is_set():
                        return
                    action(connected, shard)
            except (StorageError, psycopg.Error) as error:
                self._close(node)
                self._placement = None
                # One that was moved since has its turn in the next round.
                if not isinstance(error, psycopg.Error) or error.sqlstate not in NOT_HERE:
                    failure = failure or error
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Close the connections."""
        for node in list(self._connections):
            self._close(node)

    def _look(self) -> Placement:
        now = time.monotonic()
        if self._placement is None or now > self._looked_at + self.LOOK_INTERVAL_S:
            with connect(self._url) as connection:
                self._placement = read_placement(connection)
            self._looked_at = now
        return self._placement

    def _connect(self, node: Node) -> ShardConnection:
        if node not in self._connections:
            stack = ExitStack()
            self._opened[node] = stack.enter_context(connect(node.url(self._url), ShardConnection))
            self._connections[node] = stack
        return self._opened[node]

    def _close(self, node: Node) -> None:
        if stack := self._connections.pop(node, None):
            stack.close()


class Readiness:
    """Makes nodes ready for the shards that come to them."""

    def __init__(self, url: str) -> None:
        """`url` is the coordinator's."""
        self._url = url
        self._known: set[int] = set()
        self._newest = 0  # of the placements that are known
        self._stack = ExitStack()
        self._connection: psycopg.Connection | None = None

    def keep_on(self) -> None:
        """Do what `keep` does, over a connection that is kept open. Raises psycopg.Error and StorageError."""
        try:
            if self._connection is None:
                self._connection = self._stack.enter_context(connect(self._url))
            newest = newest_placement(self._connection)
            if newest != self._newest:
                self.keep(self._connection)
                self._newest = newest
        except Exception:
            self._connection = None
            self._stack.close()
            raise

    def keep(self, connection: psycopg.Connection) -> None:
        """Make ready what has come since the last call. Raises psycopg.Error and StorageError, for the first node."""
        placement = read_placement(connection)
        failure: Exception | None = None
        for node, shards in placement.nodes.items():
            if self._known.issuperset(shard.placement for shard in shards):
                continue
            try:
                with connect(node.url(self._url), ShardConnection) as of_node:
                    make_ready(of_node, placement, node)
            except Exception as error:
                failure = failure or error  # the other nodes have their turn
            else:
                self._known.update(shard.placement for shard in shards)
        if failure is not None:
            raise failure
