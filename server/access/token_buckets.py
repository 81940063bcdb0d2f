"""Token buckets that all worker processes of a server share (the generic cell rate algorithm, ITU-T I.371).

The state of a bucket is one number: when it will be full again. The numbers are in an anonymous file in memory
(memfd), made by the supervisor and inherited by its workers. A worker locks a bucket while it takes from it; the kernel
releases a process's locks when it ends, however it ends.
"""

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from storage.keys.limits import RateLimit

_SECOND_NS = 1_000_000_000
_RECORD = struct.Struct("=16sqq")  # a key's id, and when its buckets will be full again, in the order of Bucket
_FULL_AT = struct.Struct("=q")
_ID_BYTES = 16
_END = 2**62  # where the lock is that guards the end of the file; no record is ever there


class Bucket(IntEnum):
    """The buckets that each key has."""

    REQUESTS = 0
    ROWS = 1


class Taking(NamedTuple):
    """The outcome of taking from a bucket. Times are in nanoseconds."""

    delay_ns: int  # 0 when it was taken, else the time after which there will be enough
    full_in_ns: int  # the time after which the bucket will be full
    left: int


def create_buckets_file() -> int:
    """Return the file descriptor of a file for Buckets; processes that inherit it share its buckets."""
    return os.memfd_create("seestack-buckets")


class Buckets:
    """The buckets in a file, for one thread of a process. A new one is full."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._places: dict[bytes, int] = {}  # where the records of keys begin

    def take(self, key_id: UUID, bucket: Bucket, limit: RateLimit, count: int) -> Taking:
        """Take `count` from a bucket of a key, or nothing when there is less; a full bucket holds a burst."""
        place = self._place_of(key_id.bytes) + _ID_BYTES + bucket * _FULL_AT.size
        with self._locked(place, _FULL_AT.size):
            now = time.monotonic_ns()
            (full_at,) = _FULL_AT.unpack(os.pread(self._file, _FULL_AT.size, place))
            taking = take(limit, full_at - now, count)
            if now + taking.full_in_ns != full_at:
                os.pwrite(self._file, _FULL_AT.pack(now + taking.full_in_ns), place)
        return taking

    def _place_of(self, key_id: bytes) -> int:
        place = self._places.get(key_id)
        if place is None:
            with self._locked(_END, 1):
                self._read_new_records()
                place = self._places.get(key_id)
                if place is None:
                    place = self._places[key_id] = len(self._places) * _RECORD.size
                    # No record lies across two pages, so a process that is killed has written all of it or nothing.
                    os.pwrite(self._file, _RECORD.pack(key_id, 0, 0), place)
        return place

    def _read_new_records(self) -> None:
        """Learn of the records that other processes have added."""
        start = len(self._places) * _RECORD.size
        records = os.pread(self._file, os.fstat(self._file).st_size - start, start)
        for index, (key_id, *_) in enumerate(_RECORD.iter_unpack(records)):
            self._places[key_id] = start + index * _RECORD.size

    @contextmanager
    def _locked(self, start: int, length: int) -> Iterator[None]:
        fcntl.lockf(self._file, fcntl.LOCK_EX, length, start)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, length, start)


def take(limit: RateLimit, full_in_ns: int, count: int) -> Taking:
    """Take `count` from a bucket that will be full in `full_in_ns`, or nothing when there is less."""
    each_ns = round(_SECOND_NS / limit.per_second)
    empty_ns = limit.burst * each_ns
    # Under a limit that has just been changed, a bucket is at most empty.
    full_in_ns = min(max(full_in_ns, 0), empty_ns)
    delay_ns = max(full_in_ns + count * each_ns - empty_ns, 0)
    if not delay_ns:
        full_in_ns += count * each_ns
    return Taking(delay_ns, full_in_ns, (empty_ns - full_in_ns) // each_ns)
