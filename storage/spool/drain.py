"""From the spool into Postgres: in order, and each batch exactly once, however often that is interrupted.

Before batches are sent, the spool notes durably which backend may commit them. Whoever finds such a note later makes
sure that the backend is gone, and then looks for the batch's first row: a batch is stored whole or not at all.
"""

import asyncio
import logging
from collections.abc import Sequence

import psycopg

from storage.database import connect_async, cut_off_after
from storage.database_identity import location_of, read_identity_async
from storage.errors import SpoolOwnerError, StorageUnavailableError
from storage.spool.spool import Spool, SpooledBatch
from storage.writing.claims import find_bodies
from storage.writing.copier import Copier
from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_encoding import claims_data, copy_data, first_row, with_claims

ANSWER_TIMEOUT_S = 10.0

_REUSED = "its idempotency key was used with another body"

_logger = logging.getLogger(__name__)

# True once the backend is gone: it was so already, or it was told to go and went.
_END_BACKEND = """
SELECT coalesce(bool_and(pg_terminate_backend(pid, 5000)), true) FROM pg_stat_activity
 WHERE pid = %s AND pid <> pg_backend_pid() AND application_name LIKE 'seestack-ingest%%'
"""
_STORED = """
SELECT number FROM unnest(%s::uuid[], %s::timestamptz[], %s::uuid[]) WITH ORDINALITY AS b (project, moment, row, number)
 WHERE EXISTS (SELECT FROM http_requests WHERE project_id = project AND "timestamp" = moment AND id = row)
"""


class Drainer:
    """Empties a spool. There must be one at a time for a spool."""

    LOT_BYTES = 4 * 2**20
    RETRY_INTERVAL_S = 0.5
    CONNECTIONS = 2  # one for COPY, one to ask what is stored

    def __init__(self, spool: Spool, url: str, *, name: str) -> None:
        """Drain into the database of `url`; to be called on an event loop, which the spool's file may hold up."""
        self._spool = spool
        self._url = url
        self._name = name
        self._form = HTTP_REQUESTS.form
        self._copier = self._create_copier()

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
            if not self._copier.is_connected:
                await self._check_owner()
            await self._store(await self._without_stored(lot))
        except psycopg.Error as error:
            message = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise StorageUnavailableError(f"the database does not take batches now: {message}") from error
        if not self._spool.status().batches:
            self._spool.shrink()
            _logger.info("the spool is empty")
        return True

    async def _check_owner(self) -> None:
        """Make sure that the spool is this database's; one that never knew its database becomes so.

        Raises SpoolOwnerError, SchemaError, psycopg.Error.
        """
        connection = await connect_async(self._url, name=self._name)
        try:
            with cut_off_after(connection, ANSWER_TIMEOUT_S):
                database_id = await read_identity_async(connection)
        finally:
            await connection.close()
        owner, location = self._spool.owner(), location_of(self._url)
        if owner is None or owner.database_id is None:
            if self._spool.adopt(database_id, location):
                _logger.warning("the spool is taken to be for the database at %s, which is %s", location, database_id)
                return
            owner = self._spool.owner()
        if owner is None or owner.database_id != database_id:
            raise SpoolOwnerError(
                f"it belongs to another database ({owner}), and {location} is database {database_id} now; "
                "started again, the server uses a spool of this database's own"
            )

    async def _without_stored(self, lot: Sequence[SpooledBatch]) -> list[SpooledBatch]:
        """Return the batches that Postgres does not have, and remove the others. Raises psycopg.Error."""
        doubtful = [batch for batch in lot if batch.backend_pid]
        if not doubtful:
            return list(lot)
        connection = await connect_async(self._url, name=self._name)
        try:
            for backend_pid in {batch.backend_pid for batch in doubtful}:
                with cut_off_after(connection, ANSWER_TIMEOUT_S):
                    answer = await (await connection.execute(_END_BACKEND, (backend_pid,))).fetchone()
                if answer is None or not answer[0]:
                    raise psycopg.OperationalError(f"backend {backend_pid} does not end")
            columns = [list(column) for column in zip(*(first_row(batch.batch) for batch in doubtful), strict=True)]
            with cut_off_after(connection, ANSWER_TIMEOUT_S):
                numbers = await (await connection.execute(_STORED, columns)).fetchall()
            stored = [doubtful[number - 1] for (number,) in numbers]
        finally:
            await connection.close()
        self._spool.remove(stored)
        return [batch for batch in lot if batch not in stored]

    async def _without_repeats(self, lot: Sequence[SpooledBatch]) -> Sequence[SpooledBatch]:
        """Return the batches whose idempotency keys are not stored yet; the others were sent again in the meantime."""
        claims = {spooled.position: spooled.batch.claim for spooled in lot if spooled.batch.claim is not None}
        connection = await connect_async(self._url, name=self._name)
        try:
            with cut_off_after(connection, ANSWER_TIMEOUT_S):
                bodies = await find_bodies(connection, [claim.id for claim in claims.values()])
        finally:
            await connection.close()
        repeats = [spooled for spooled in lot if (claim := claims.get(spooled.position)) and claim.id in bodies]
        for spooled in repeats:
            if bodies[claims[spooled.position].id] != claims[spooled.position].body:
                _logger.error("a spooled batch of %d rows is put aside: %s", spooled.batch.rows, _REUSED)
                self._spool.refuse(spooled, _REUSED)
        self._spool.remove(repeats)
        return [spooled for spooled in lot if spooled not in repeats]

    async def _store(self, lot: Sequence[SpooledBatch]) -> None:
        """Store batches together, or each alone when Postgres refuses one. Raises psycopg.OperationalError."""
        error = await self._copy(lot) if lot else None
        if isinstance(error, psycopg.errors.CheckViolation):
            # The row's day got its own partition while this waited for the default one, and is there next time.
            error = await self._copy(lot)
        if isinstance(error, psycopg.errors.UniqueViolation):
            lot = await self._without_repeats(lot)
            error = await self._copy(lot) if lot else None
        if isinstance(error, psycopg.OperationalError):
            if not self._copier.is_in_doubt:
                self._spool.mark(lot, 0)
            raise error
        if error is None:
            self._spool.remove(lot)
        elif len(lot) > 1:
            for batch in lot:
                await self._store([batch])
        else:
            reason = error.diag.message_primary or type(error).__name__
            _logger.error("a spooled batch of %d rows is put aside: %s", lot[0].batch.rows, reason)
            self._spool.refuse(lot[0], reason)

    def _create_copier(self) -> Copier:
        return Copier(self._url, name=self._name, statement=with_claims(self._form))

    async def _copy(self, lot: Sequence[SpooledBatch]) -> psycopg.Error | None:
        ended: asyncio.Future[psycopg.Error | None] = asyncio.get_running_loop().create_future()
        if lot[0].batch.form != self._form:
            self._copier.close()
            self._form = lot[0].batch.form
            self._copier = self._create_copier()

        def fill() -> None:
            try:
                self._spool.mark(lot, self._copier.backend_pid)
            except Exception as error:
                # Nobody else would tell the one who waits.
                self._copier.close()
                ended.set_exception(error)
                return
            batches = [spooled.batch for spooled in lot]
            self._copier.add(copy_data(batch.data for batch in batches))
            self._copier.end(claims_data(batches))

        self._copier.begin(fill, ended.set_result)
        return await ended
