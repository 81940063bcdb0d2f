"""Waiting for a pass of the rollups, where that costs less than that each query reads the newest rows itself."""

import asyncio
import time
from typing import Final, NamedTuple

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from storage.database import run
from storage.rollups.requests import ask_for_pass

LOOK_INTERVAL_S: Final = 0.03
LOOK_TIMEOUT_S: Final = 2.0
LONGEST_S: Final = 8.0
# Transactions that store rows, and passes, take less; one that takes longer may hold up the mark for hours.
LONGEST_OPEN_S: Final = 2.0
IN_VAIN_S: Final = 10.0  # for which nobody waits after the mark has not moved

_UNKNOWN: Final = 2**63
# The mark, how far it could come, and whether rollups and rows from there on are all: not while rows are moved.
_PROGRESS: Final = """
SELECT mark, first_transaction + pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
       to_regclass('http_requests_before') IS NULL AND cluster = system_identifier
  FROM rollup_state, pg_control_system()
"""


class BehindError(Exception):
    """Rollups lack so many rows that it is better to wait for a pass."""

    def __init__(self, wanted: int) -> None:
        """`wanted` is the mark from which on the rollups have all that was stored when the query came."""
        super().__init__(wanted)
        self.wanted = wanted


class _Waiting(NamedTuple):
    wanted: int
    since: float
    reached: "asyncio.Future[bool]"


class Passes:
    """What the queries of a process wait for, on its event loop: one looks for all."""

    def __init__(self, pool: AsyncConnectionPool, ask_fd: int) -> None:
        """A pass is asked for by `ask_fd`."""
        self._pool = pool
        self._ask_fd = ask_fd
        self._waiting: list[_Waiting] = []
        self._looking: asyncio.Task[None] | None = None
        self._in_vain_until = 0.0
        self._mark: int | None = None  # at the last look, None: nobody has waited and looked
        self._moved_at = 0.0

    @property
    def are_made(self) -> bool:
        """Tell whether it is worth waiting for one."""
        return time.monotonic() >= self._in_vain_until

    async def wait(self, wanted: int) -> bool:
        """Wait until the mark is `wanted`; tell whether it is."""
        waiting = _Waiting(wanted, time.monotonic(), asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return await waiting.reached

    async def _look(self) -> None:
        try:
            while self._waiting:
                ask_for_pass(self._ask_fd)
                await asyncio.sleep(LOOK_INTERVAL_S)
                mark, final_below, are_all_there = await self._progress()
                self._tell(mark, final_below, are_all_there=are_all_there)
        finally:
            self._looking = None
            self._tell(0, 0, are_all_there=False)  # where it failed, nobody may wait for ever
            self._mark = None

    async def _progress(self) -> tuple[int, int, bool]:
        async def read(connection: AsyncConnection) -> tuple[int, int, bool] | None:
            return await (await connection.execute(_PROGRESS)).fetchone()

        try:
            return await run(self._pool, read, LOOK_TIMEOUT_S) or (0, 0, False)
        except psycopg.Error:  # all connections are in use, perhaps: nothing is known
            return self._mark or 0, _UNKNOWN, True

    def _tell(self, mark: int, final_below: int, *, are_all_there: bool) -> None:
        now = time.monotonic()
        if self._mark not in (None, mark):
            self._moved_at = now
        self._mark = mark
        still: list[_Waiting] = []
        for each in self._waiting:
            waited_s = now - each.since
            if each.reached.done():  # cancelled
                continue
            if are_all_there and mark >= each.wanted:
                each.reached.set_result(True)
            elif not are_all_there or waited_s > (LONGEST_S if final_below >= each.wanted else LONGEST_OPEN_S):
                if self._moved_at < each.since or not are_all_there:
                    self._in_vain_until = now + IN_VAIN_S
                each.reached.set_result(False)
            else:
                still.append(each)
        self._waiting = still
