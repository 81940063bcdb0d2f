"""Draining a spool into a database that is distributed: each batch into its node, and none waits for another's."""

from dataclasses import replace
from uuid import UUID

import psycopg

from storage.database import connect, connect_async, cut_off_after
from storage.distribution.catalogue import ROWS, Node, Placement, read_placement
from storage.distribution.node import NodeDatabase
from storage.errors import StorageUnavailableError
from storage.spool.drain import ANSWER_TIMEOUT_S, Drainer, set_aside, shrink_if_empty, unavailable
from storage.spool.spool import Spool, SpooledBatch
from storage.spool.version_1_rows import in_present_form
from storage.writing.commit_lookup import end_transactions
from storage.writing.row_encoding import project_of
from storage.writing.transaction_ids import group_of

_PROJECTS = "SELECT id, number FROM projects"


class NodeDrainer:
    """Drains a spool into all nodes. There must be one at a time for a spool."""

    RETRY_INTERVAL_S = Drainer.RETRY_INTERVAL_S

    def __init__(self, spool: Spool, url: str, *, name: str, is_copy: bool = False) -> None:
        """`url` is the coordinator's; to be called on an event loop. `is_copy`: see Drainer."""
        self._is_copy = is_copy
        self._spool = spool
        self._url = url
        self._name = name
        self._placement: Placement | None = None
        self._drainers: dict[Node, Drainer] = {}
        self._after = 0  # batches up to this position wait for a node that is held up
        self._held: dict[Node, psycopg.Error] = {}

    def close(self) -> None:
        """Close the connections."""
        for drainer in self._drainers.values():
            drainer.close()
        self._drainers.clear()

    async def drain(self) -> bool:
        """Store the oldest batches that can be; return whether there were any. Raises as `Drainer.drain` does."""
        lot = self._spool.oldest(Drainer.LOT_BYTES, self._after)
        if not lot:
            self._spool.check_in_place()
            return await self._begin_again()
        lot = self._in_present_form(lot)
        if not lot:
            return True
        placement = self._placement or self._look()
        by_node: dict[Node, list[SpooledBatch]] = {}
        for spooled in lot:
            by_node.setdefault(placement.shard_of(project_of(spooled.batch)).node, []).append(spooled)
        is_stored = False
        for node, part in by_node.items():
            if node in self._held:
                continue
            try:
                await self._end_elsewhere(part, placement, node)
                await self._drainer_of(node, placement).store(part)
                is_stored = True
            except psycopg.Error as error:
                self._held[node] = error
                self._placement = None  # shards may have been moved
        if any(node in self._held for node in by_node):
            self._after = lot[-1].position
        else:
            shrink_if_empty(self._spool)
        return is_stored

    async def _begin_again(self) -> bool:
        """At the end of the spool, try held up nodes again; raise what holds them up when it still does."""
        if not self._held:
            self._after = 0
            return False
        held, self._held = self._held, {}
        self.close()
        placement = self._look()
        for node, error in held.items():
            if node not in placement.nodes:
                continue
            try:
                with connect(node.url(self._url)):
                    pass
            except StorageUnavailableError:
                self._held[node] = error
        if len(self._held) < len(held):
            self._after = 0
        if self._held:
            error = next(iter(self._held.values()))
            raise unavailable(error) from error
        return False

    async def _end_elsewhere(self, part: list[SpooledBatch], placement: Placement, node: Node) -> None:
        """Have transactions end that may have stored these batches on nodes that had the shards before."""
        groups = {spooled.transaction_id: group_of(spooled.transaction_id) for spooled in part}
        for other in placement.all_nodes:
            ids = {number for number, group in groups.items() if number and group == other.group != node.group}
            if not ids:
                continue
            connection = await connect_async(other.url(self._url), name=self._name)
            try:
                with cut_off_after(connection, ANSWER_TIMEOUT_S):
                    await end_transactions(connection, ids)
            finally:
                await connection.close()

    def _in_present_form(self, lot: list[SpooledBatch]) -> list[SpooledBatch]:
        """Return batches of one form in that of now; those that cannot have it are set aside.

        Raises StorageUnavailableError, SpoolError.
        """
        if project_of(lot[0].batch):
            return lot
        numbers = self._numbers_of_projects()
        present = []
        for spooled in lot:
            try:
                present.append(replace(spooled, batch=in_present_form(spooled.batch, numbers)))
            except ValueError as error:
                set_aside(self._spool, spooled, str(error))
        return present

    def _numbers_of_projects(self) -> dict[UUID, int]:
        try:
            with connect(self._url) as connection:
                return dict(connection.execute(_PROJECTS).fetchall())
        except psycopg.Error as error:
            raise unavailable(error) from error

    def _drainer_of(self, node: Node, placement: Placement) -> Drainer:
        if node not in self._drainers:
            database = NodeDatabase(node.url(self._url), node, placement)
            self._drainers[node] = Drainer(self._spool, database, name=self._name, is_copy=self._is_copy)
        return self._drainers[node]

    def _look(self) -> Placement:
        """Read the catalogue, of the coordinator or of a node. Raises StorageUnavailableError."""
        failure: StorageUnavailableError | None = None
        for url in [self._url, *(node.url(self._url) for node in self._drainers)]:
            try:
                with connect(url) as connection:
                    placement = read_placement(connection)
            except StorageUnavailableError as error:
                failure = failure or error
            except psycopg.Error as error:
                failure = failure or unavailable(error)
            else:
                if not placement.shards:
                    raise StorageUnavailableError(f"the database has no table {ROWS} that is distributed")
                self.close()  # what drains into a node knows an earlier placement
                self._placement = placement
                return placement
        assert failure is not None  # noqa: S101 - there is at least one URL
        raise failure
