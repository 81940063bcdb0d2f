"""The thread that keeps the rollups: of a database, or of each shard of one that is distributed.

Several servers of one database take turns: whichever has the state locked makes a pass. A server that dies loses the
lock with its connection.
"""

import logging
from contextlib import closing
from functools import partial

import psycopg

from server.database.background import BackgroundThread
from server.database.nodes import ShardRounds
from server.database.rollup_keeper import INTERVAL_S, RollupFigures, RollupKeeper
from storage.database import connect
from storage.distribution.catalogue import Shard
from storage.priority import let_backend_give_way, let_thread_give_way
from storage.privileges import owns_schema
from storage.rollups.handed_rows import Handover
from storage.rollups.requests import PassRequests, ask_for_pass
from storage.rollups.state import go_on_in_this_cluster, read_state
from storage.rollups.summing import Summing
from storage.writing.transaction_ids import first_id_of

RETRY_INTERVAL_S = 5.0
# Between passes that are asked for: each costs 10 ms beside its rows. Those who ask meanwhile share the next one.
LEAST_INTERVAL_S = 0.25
# What is looked for takes as long for each of many shards as for a whole database, and each has fewer rows.
SHARD_SUMMARIES_INTERVAL_S = 15.0
LONGEST_SHARD_INTERVAL_S = 5.0

_logger = logging.getLogger(__name__)


def continue_transactions(connection: psycopg.Connection) -> None:
    """After a restore into another cluster, have its transactions count on from those of the rows.

    Raises psycopg.Error. It needs the owner of the tables; until then, nothing is read from rollups.
    """
    if read_state(connection).is_of_this_cluster:
        return
    if not owns_schema(connection):
        _logger.warning("the database was restored: run `seestack-ingest migrate` as the tables' owner to have rollups")
    elif go_on_in_this_cluster(connection):
        _logger.info("the database was restored: transactions count on from those of the rows")


class RollupUpkeep(BackgroundThread):
    """A thread of the main process that keeps the rollups until it is stopped."""

    CONNECTIONS = 1

    def __init__(
        self,
        database_url: str,
        summing: Summing,
        retention_days: int | None,
        *,
        is_distributed: bool = False,
    ) -> None:
        """Keep them from now on; hours and days for `retention_days`, None: all."""
        self._url = database_url
        self._is_distributed = is_distributed
        self._summing = summing
        self._retention_days = retention_days
        self._requests = PassRequests()
        self.handover = Handover(partial(ask_for_pass, self.ask_fd))  # gets what processes of this server have stored
        # By the number of the shard; of a database that is not distributed there is one, 0.
        self._keepers: dict[int, RollupKeeper] = {}
        self._failures = 0
        self._is_failing = False
        super().__init__("rollups", RETRY_INTERVAL_S)

    @property
    def ask_fd(self) -> int:
        """The end of a pipe by which processes that inherit it ask for a pass (`ask_for_pass`)."""
        return self._requests.ask_fd

    def stop(self) -> None:
        """See BackgroundThread."""
        self._stopped.set()
        ask_for_pass(self.ask_fd)
        super().stop()

    @property
    def figures(self) -> RollupFigures:
        """What this thread did, and how far behind it is."""
        return RollupFigures.sum_of((keeper.figures for keeper in list(self._keepers.values())), self._failures)

    def _work(self) -> None:
        let_thread_give_way()
        if self._is_distributed:
            self._keep_shards()
        else:
            with connect(self._url, name="rollups") as connection:
                let_backend_give_way(connection)
                self._keep(connection)

    def _keep(self, connection: psycopg.Connection) -> None:
        keeper = self._keeper_of(0)
        while not self._stopped.is_set():
            is_behind = keeper.work(connection, self._stopped)
            self._note_success()
            if not is_behind:
                self._stopped.wait(LEAST_INTERVAL_S)
                self._requests.wait(INTERVAL_S - LEAST_INTERVAL_S)

    def _keep_shards(self) -> None:
        behind: list[int] = []

        def work(connection: psycopg.Connection, shard: Shard) -> None:
            keeper = self._keeper_of(shard.number)
            base = first_id_of(shard.node.group)
            if keeper.is_due and keeper.work(connection, self._stopped, base):
                behind.append(shard.number)

        with closing(ShardRounds(self._url)) as rounds:
            while not self._stopped.is_set():
                behind.clear()
                rounds.make(work, self._stopped)
                self._note_success()
                if not behind:
                    self._stopped.wait(INTERVAL_S)

    def _keeper_of(self, number: int) -> RollupKeeper:
        if number not in self._keepers:
            intervals_s = (SHARD_SUMMARIES_INTERVAL_S, LONGEST_SHARD_INTERVAL_S) if self._is_distributed else ()
            self._keepers[number] = RollupKeeper(
                self._summing, self._retention_days, self._requests, self.handover, number, *intervals_s
            )
        return self._keepers[number]

    def _note_success(self) -> None:
        if self._is_failing:
            self._is_failing = False
            _logger.warning("rollups are kept again")

    def _note_failure(self, error: Exception, *, is_expected: bool) -> None:
        self._failures += 1
        if not self._is_failing or not is_expected:
            self._is_failing = True
            _logger.warning("rollups cannot be kept, retry in a moment: %s", error, exc_info=not is_expected)
