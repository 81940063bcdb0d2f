"""Token buckets that all worker processes of a server share (the generic cell rate algorithm, ITU-T I.371).

The state of a bucket is one number: when it will be full again. The numbers are in an anonymous file in memory
(memfd), made by the supervisor and inherited by its workers. A worker locks a bucket while it takes from it; the kernel
releases a process's locks when it ends, however it ends.

Where several servers have limits in common, a bucket has a share: the part of the rate and of the burst that is this
server's. Then what is taken costs more time, as if the other servers had taken their part as well.
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

# No server has the share of a key that it needs at once: it has it about so long after the first request.
ADAPTATION_NS = 2_000_000_000

_SECOND_NS = 1_000_000_000
_LONGEST_NS = 2**62  # that a bucket takes to fill, so that its time fits into a record
_BUCKET = struct.Struct("=qdq")  # when it will be full again, its share, and how much was asked for since the start
_RECORD = struct.Struct("=16s" + 2 * _BUCKET.format[1:])  # a key's id, and its buckets, in the order of Bucket
_SHARE = struct.Struct("=d")  # at the beginning: the share that new records get
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


class Demand(NamedTuple):
    """A bucket as one looks at all of them: what was asked of it since the start, and its share."""

    asked: int
    share: float


def create_buckets_file() -> int:
    """Return the file descriptor of a file for Buckets; processes that inherit it share its buckets."""
    file = os.memfd_create("seestack-buckets")
    os.pwrite(file, _SHARE.pack(1.0).ljust(_RECORD.size, b"\0"), 0)
    return file


class Buckets:
    """The buckets in a file, for one thread of a process. A new one is full."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._places: dict[bytes, int] = {}  # where the records of keys begin

    def take(self, key_id: UUID, bucket: Bucket, limit: RateLimit, count: int, *, has_share: bool = True) -> Taking:
        """Take `count` from a bucket of a key, or nothing when there is less; a full bucket holds a burst.

        Without `has_share` the limit is this server's alone, whatever is shared.
        """
        place = self._place_of(key_id.bytes, bucket)
        with self._locked(place, _BUCKET.size):
            now = time.monotonic_ns()
            full_at, share, asked = self._read(place)
            taking = take(limit, full_at - now, count, share if has_share else 1.0)
            # What can never be taken is no demand.
            asked += count if count <= limit.burst else 0
            os.pwrite(self._file, _BUCKET.pack(now + taking.full_in_ns, share, asked), place)
        return taking

    def demands(self) -> dict[UUID, tuple[Demand, ...]]:
        """Return the buckets of all keys, in the order of Bucket."""
        size = os.fstat(self._file).st_size - _RECORD.size
        return {
            UUID(bytes=key_id): (Demand(fields[2], fields[1]), Demand(fields[5], fields[4]))
            for key_id, *fields in _RECORD.iter_unpack(os.pread(self._file, size, _RECORD.size))
        }

    def set_share(self, key_id: UUID, bucket: Bucket, limit: RateLimit | None, share: float) -> None:
        """Give this server another share of a limit from now on, above 0 and at most 1.

        A limit that is not known is one of which nothing was taken lately.
        """
        place = self._place_of(key_id.bytes, bucket)
        with self._locked(place, _BUCKET.size):
            now = time.monotonic_ns()
            full_at, old_share, asked = self._read(place)
            if limit is not None:
                full_at = now + with_share(limit, full_at - now, old_share, share)
            os.pwrite(self._file, _BUCKET.pack(full_at, share, asked), place)

    def set_first_share(self, share: float) -> None:
        """Give the keys that come from now on this share at first."""
        with self._locked(_END, 1):
            os.pwrite(self._file, _SHARE.pack(share), 0)

    def _read(self, place: int) -> tuple[int, float, int]:
        full_at, share, asked = _BUCKET.unpack(os.pread(self._file, _BUCKET.size, place))
        return full_at, share, asked

    def _place_of(self, key_id: bytes, bucket: Bucket) -> int:
        place = self._places.get(key_id)
        if place is None:
            with self._locked(_END, 1):
                self._read_new_records()
                place = self._places.get(key_id)
                if place is None:
                    place = self._places[key_id] = self._end_of_known()
                    (share,) = _SHARE.unpack(os.pread(self._file, _SHARE.size, 0))
                    # No record lies across two pages, so a process that is killed has written all of it or nothing.
                    os.pwrite(self._file, _RECORD.pack(key_id, 0, share, 0, 0, share, 0), place)
        return place + _ID_BYTES + bucket * _BUCKET.size

    def _end_of_known(self) -> int:
        return (1 + len(self._places)) * _RECORD.size

    def _read_new_records(self) -> None:
        """Learn of the records that other processes have added."""
        start = self._end_of_known()
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


def take(limit: RateLimit, full_in_ns: int, count: int, share: float = 1.0) -> Taking:
    """Take `count` from a bucket that will be full in `full_in_ns`, or nothing when there is less.

    A full bucket gives any count up to a burst, however small its share is; then it lacks more than all that it holds.
    """
    each_ns = round(_SECOND_NS / limit.per_second)
    empty_ns = limit.burst * each_ns
    cost_ns = _at_share(count * each_ns, share)
    # Under a limit that has just been changed, a bucket lacks at most what can be taken from a full one.
    full_in_ns = min(max(full_in_ns, 0), _at_share(empty_ns, share))
    at_once_ns = empty_ns if count > limit.burst else max(empty_ns, cost_ns)
    delay_ns = max(full_in_ns + cost_ns - at_once_ns, 0)
    if not delay_ns:
        full_in_ns = min(full_in_ns + cost_ns, _LONGEST_NS)
    told_ns = min(delay_ns, ADAPTATION_NS + round(delay_ns * share)) if share < 1.0 else delay_ns
    return Taking(told_ns, full_in_ns, max(int((empty_ns - full_in_ns) * share) // each_ns, 0))


def with_share(limit: RateLimit, full_in_ns: int, old_share: float, share: float) -> int:
    """Return when a bucket will be full once its share has changed.

    What it holds changes with the share. What it lacks beyond all of that was taken already, and stays.
    """
    empty_ns = limit.burst * round(_SECOND_NS / limit.per_second)
    beyond_ns = max(full_in_ns - empty_ns, 0)
    return min(full_in_ns - beyond_ns + round(beyond_ns * old_share / share), _LONGEST_NS)


def _at_share(time_ns: int, share: float) -> int:
    return time_ns if share == 1.0 else round(time_ns / share)
