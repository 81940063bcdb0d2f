"""Moving the rows of earlier versions while the server works: a little at a time, until there are none."""

import logging
import time

import psycopg

from storage.privileges import owns_schema
from storage.rows_before import (
    BLOCK_BYTES,
    BusyError,
    Unmoved,
    drop_partition,
    drop_table,
    move_rows,
    unmoved_partitions,
)

STEP_BLOCKS = 256  # some 8,000 rows: a step takes a tenth of a second

_logger = logging.getLogger(__name__)


class RowMoving:
    """Moves rows when it is called, and says how far it got."""

    def __init__(self) -> None:
        self.unmoved_bytes = 0  # of the table of earlier versions, when it was last looked
        self.is_over = False
        self._unmoved: list[Unmoved] = []
        self._next_blocks: dict[str, int] = {}
        self._held: set[str] = set()  # empty, but others used them when they were to be dropped
        self._is_told = False

    def work(self, connection: psycopg.Connection, seconds: float) -> bool:
        """Move rows for so long, at least in one step, and return whether there are more that can be moved now.

        Those that the role may not move, or that another server moves, cannot be, nor those that somebody has locked.
        Raises psycopg.Error.
        """
        end = time.monotonic() + seconds
        is_allowed = owns_schema(connection)
        try:
            while not self._look(connection) and is_allowed:
                self._move_some(connection)
                if time.monotonic() > end:
                    break
        except BusyError:
            return False
        except psycopg.errors.LockNotAvailable:
            self._tell("rows of an earlier version wait to be moved until another transaction, maybe a backup, ends")
            return False
        self._is_told = False
        return is_allowed and not self.is_over

    def _look(self, connection: psycopg.Connection) -> bool:
        """Return whether nothing is left."""
        unmoved = unmoved_partitions(connection)
        self.is_over, self._unmoved = unmoved is None, unmoved or []
        left = (max(0, blocks - self._next_blocks.get(partition, 0)) for partition, blocks in self._unmoved)
        self.unmoved_bytes = BLOCK_BYTES * sum(left)
        return self.is_over

    def _move_some(self, connection: psycopg.Connection) -> None:
        if not self._unmoved:
            drop_table(connection)
            _logger.info("all rows of the earlier version are moved")
            return
        others = [each for each in self._unmoved if each.partition not in self._held]
        partition, blocks = (others or self._unmoved)[0]
        first_block = self._next_blocks.get(partition, 0)
        if first_block < blocks:
            self._next_blocks[partition] = first_block + STEP_BLOCKS
            move_rows(connection, partition, first_block, first_block + STEP_BLOCKS)
        else:
            self._drop(connection, partition, may_wait=len(others) > 1)

    def _drop(self, connection: psycopg.Connection, partition: str, *, may_wait: bool) -> None:
        try:
            is_empty = drop_partition(connection, partition)
        except psycopg.errors.LockNotAvailable:
            if not may_wait:
                raise
            self._held.add(partition)
            return
        if is_empty:
            _logger.info("moved the rows of %s; %d bytes are left", partition, self.unmoved_bytes)
        else:
            self._next_blocks[partition] = 0

    def _tell(self, message: str) -> None:
        if not self._is_told:
            self._is_told = True
            _logger.warning(message)
