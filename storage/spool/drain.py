"""From the spool into Postgres: in order, and each batch exactly once, however often that is interrupted.

Before batches are sent, the spool notes durably which transaction may commit them. A later drain that finds
such a note looks up whether it did (see commit_lookup.py).
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import psycopg

from storage.database import connect_async, cut_off_after
from storage.database_identity import location_of, read_identity_async
from storage.errors import StorageUnavailableError
from storage.spool.spool import Spool, SpooledBatch
from storage.spool.version_1_doubts import end_backends
from storage.writing.batch_copy import copy_batches
from storage.writing.claims import Claim, find_bodies
from storage.writing.commit_lookup import UncertainBatch, find_stored
from storage.writing.copier import Copier
from storage.writing.destination import Database

Result = TypeVar("Result")

ANSWER_TIMEOUT_S = 10.0

_REUSED = "its idempotency key was used with another body"

_logger = logging.getLogger(__name__)


class Drainer:
    """Drains a spool. There must be one at a time for a spool."""

    LOT_BYTES = 4 * 2**20
    RETRY_INTERVAL_S = 0.5
    CONNECTIONS = 2  # one for COPY, one to ask what is stored

    def __init__(self, spool: Spool, database: Database, *, name: str, is_copy: bool = False) -> None:
        """Drain into a database; to be called on an event loop, which the spool's file may block.

        Of a copy (`is_copy`) every batch may be stored already, by a drain of the original, and is looked up.
        """
        self._is_copy = is_copy
        self._spool = spool
        self._database = database
        self._name = name
        self._copier = Copier(database.url, name=name, transaction_base=database.transaction_base)

    def close(self) -> None:
        """Close the connection."""
        self._copier.close()

    async def drain(self) -> bool:
        """Store the oldest batches; return whether there were any.

        Raises StorageUnavailableError when the database does not take them now, SpoolError when the spool cannot be
        used, SpoolOwnerError when it belongs to another database.
        """
        lot = self._spool.oldest(self.LOT_BYTES)
        if not lot:
            self._spool.check_in_place()
            return False
        try:
            await self.store(lot)
        except psycopg.Error as error:
            raise unavailable(error) from error
        shrink_if_empty(self._spool)
        return True

    async def store(self, lot: Sequence[SpooledBatch]) -> None:
        """Store batches of the spool and remove them from it. Raises psycopg.Error, SpoolError, SpoolOwnerError."""
        if not self._copier.is_connected:
            await self._check_owner()
        await self._store(await self._without_stored(lot))

    async def _check_owner(self) -> None:
        """Make sure that the spool is this database's; one that never knew its database becomes so.

        Raises SpoolOwnerError, SchemaError, psycopg.Error.
        """
        self._spool.require_owner(await self._look_up(read_identity_async), location_of(self._database.url))

    async def _without_stored(self, lot: Sequence[SpooledBatch]) -> list[SpooledBatch]:
        """Return the batches that Postgres does not have, and remove the others. Raises psycopg.Error."""
        uncertain = [spooled for spooled in lot if self._is_copy or spooled.transaction_id or spooled.backend_pid]
        if not uncertain:
            return list(lot)
        await self._look_up(partial(end_backends, pids={spooled.backend_pid for spooled in uncertain} - {0}))
        batches = [UncertainBatch(spooled.batch, spooled.transaction_id) for spooled in uncertain]
        stored = [uncertain[position] for position in await self._look_up(partial(find_stored, batches=batches))]
        self._spool.remove(stored)
        return [spooled for spooled in lot if spooled not in stored]

    async def _without_repeats(self, lot: Sequence[SpooledBatch]) -> list[SpooledBatch]:
        """Return the batches whose idempotency keys are not stored; the others were sent again in the meantime."""
        by_table: dict[str, list[tuple[SpooledBatch, Claim]]] = {}
        for spooled in lot:
            if spooled.batch.claim is not None:
                table = self._database.target_of(spooled.batch).claims_table
                by_table.setdefault(table, []).append((spooled, spooled.batch.claim))
        repeats = []
        for table, claims in by_table.items():
            ids = [claim.id for _, claim in claims]
            bodies = await self._look_up(partial(find_bodies, ids=ids, table=table))
            for spooled, claim in claims:
                if claim.id in bodies:
                    repeats.append(spooled)
                    if bodies[claim.id] != claim.body:
                        set_aside(self._spool, spooled, _REUSED)
        self._spool.remove(repeats)
        return [spooled for spooled in lot if spooled not in repeats]

    async def _look_up(self, query: "Callable[[psycopg.AsyncConnection], Awaitable[Result]]") -> "Result":
        connection = await connect_async(self._database.url, name=self._name)
        try:
            with cut_off_after(connection, ANSWER_TIMEOUT_S):
                return await query(connection)
        finally:
            await connection.close()

    async def _store(self, lot: Sequence[SpooledBatch], *, is_second_try: bool = False) -> None:
        """Store batches together, or each alone when Postgres refuses one. Raises psycopg.OperationalError."""
        try:
            await self._copy(lot)
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            # A row's day got its own partition while this waited for the default one; a batch was sent again meanwhile.
            if isinstance(error, psycopg.errors.CheckViolation | psycopg.errors.UniqueViolation) and not is_second_try:
                await self._store(await self._without_repeats(lot), is_second_try=True)
            elif len(lot) > 1:
                for spooled in lot:
                    await self._store([spooled])
            else:
                set_aside(self._spool, lot[0], error.diag.message_primary or type(error).__name__)
        else:
            self._spool.remove(lot)

    async def _copy(self, lot: Sequence[SpooledBatch]) -> None:
        if lot:
            batches = [spooled.batch for spooled in lot]
            await copy_batches(self._copier, self._database, batches, partial(self._spool.mark, lot))


def unavailable(error: psycopg.Error) -> StorageUnavailableError:
    """Return what a drain raises when a database does not take batches."""
    message = (str(error).strip() or type(error).__name__).splitlines()[0]
    return StorageUnavailableError(f"the database does not take batches now: {message}")


def set_aside(spool: Spool, spooled: SpooledBatch, reason: str) -> None:
    """Keep a batch that cannot be stored for a person to look at. Raises SpoolError."""
    _logger.error("a spooled batch of %d rows is set aside: %s", spooled.batch.rows, reason)
    spool.refuse(spooled, reason)


def shrink_if_empty(spool: Spool) -> None:
    """Give the disk back what an empty spool does not use. Raises SpoolError."""
    if not spool.status().batches:
        spool.shrink()
        _logger.info("the spool is empty")
