"""Bounds what requests have brought that nobody has read yet."""

from typing import Protocol


class Holder(Protocol):
    """What holds some."""

    def shed(self) -> None:
        """Give up the memory that the request takes."""


class HeldBytes:
    """Counts them over all connections of a process; beyond the limit, the stream that has held some longest is cut."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._holding: dict[Holder, None] = {}

    def add(self, stream: Holder, size: int) -> None:
        """Count bytes that a stream has received."""
        self._holding.setdefault(stream)
        self._size += size
        while self._size > self._limit:
            next(iter(self._holding)).shed()

    def remove(self, stream: Holder, size: int, *, is_last: bool) -> None:
        """Count bytes that were read of a stream, or dropped; `is_last`: it holds none now."""
        self._size -= size
        if is_last:
            self._holding.pop(stream, None)
