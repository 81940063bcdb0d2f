"""Rows that this server's own processes have stored, as they sent them: a pass need not have Postgres copy them out.

Whether they are in the table is told by the table: they count only if the transaction has as many rows there.
"""

import threading
from collections.abc import Callable
from typing import Final, NamedTuple

MOST_BYTES: Final = 32 * 2**20  # what is handed over beyond is read from the table
MUCH_BYTES: Final = MOST_BYTES // 2  # worth a pass


class HandedRows(NamedTuple):
    """All rows that a transaction has stored in one shard, in the form of HTTP_REQUESTS."""

    rows: int
    data: bytes


class Handover:
    """Rows between their commit and a pass, for any number of threads.

    Ids of transactions are those of `storage.writing.transaction_ids`; one Postgres has one shard, 0.
    """

    def __init__(self, on_much: Callable[[], None] | None = None) -> None:
        """`on_much` is called when there are more than MUCH_BYTES from now on."""
        self.receive: Callable[[], None] = lambda: None  # has what is under way added
        self._on_much = on_much
        self._lock = threading.Lock()
        self._shards: dict[int, dict[int, HandedRows]] = {}
        self._bytes = 0

    def add(self, shard: int, transaction_id: int, handed: HandedRows) -> None:
        """Take rows, or forget them when there are too many."""
        with self._lock:
            before = self._bytes
            if before + len(handed.data) > MOST_BYTES:
                return
            of_shard = self._shards.setdefault(shard, {})
            # An id comes twice if another cluster goes on instead. Nobody knows which rows that has then.
            known = of_shard.pop(transaction_id, None)
            if known is not None:
                self._bytes -= len(known.data)
                return
            of_shard[transaction_id] = handed
            self._bytes += len(handed.data)
        if before <= MUCH_BYTES < self._bytes and self._on_much is not None:
            self._on_much()

    def between(self, shard: int, first: int, end: int) -> dict[int, HandedRows]:
        """Return what the transactions from `first` on and before `end` have stored in a shard."""
        self.receive()
        with self._lock:
            return {number: handed for number, handed in self._shards.get(shard, {}).items() if first <= number < end}

    def forget(self, shard: int, below: int | None = None) -> None:
        """Forget the transactions of a shard, or those below one."""
        with self._lock:
            of_shard = self._shards.get(shard, {})
            for number in [number for number in of_shard if below is None or number < below]:
                self._bytes -= len(of_shard.pop(number).data)
