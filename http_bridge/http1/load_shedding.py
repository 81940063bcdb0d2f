"""Bounds the memory that all connections of a worker hold, by shedding those whose clients are silent the longest.

A client that sends at an ordinary pace is never among them, however many others open connections, send half of a
request and stop.
"""

from collections.abc import Iterator
from typing import Protocol


class Sheddable(Protocol):
    """What this module needs of a connection."""

    @property
    def is_waiting(self) -> bool:
        """Tell whether it waits for its client, and not for the answer to a request."""

    @property
    def held_bytes(self) -> int:
        """Bytes of bodies that the application has not read, and of answers that the client has not."""

    def shed(self) -> None:
        """Give up what it holds, and close once the client was told to try again later."""


class LoadShedder:
    """The connections of a worker, ordered by their last progress, the oldest first."""

    def __init__(self, max_connections: int, max_bytes: int) -> None:
        """`max_bytes` bounds what all connections hold of bodies and of answers."""
        self._max_connections = max_connections
        self._max_bytes = max_bytes
        self._connections: dict[Sheddable, None] = {}
        self.held_bytes = 0  # changed by the connections that hold them

    def admit(self, connection: Sheddable) -> bool:
        """Add a new connection; return False when there is no room, and none can be made."""
        if len(self._connections) >= self._max_connections:
            idle = next((other for other in self._connections if other.is_waiting), None)
            if idle is None:
                return False
            self._shed(idle)
        self._connections[connection] = None
        return True

    def note_progress(self, connection: Sheddable) -> None:
        """Note progress of a connection; shed others when all together hold too much."""
        if self._connections.pop(connection, connection) is None:
            self._connections[connection] = None
        if self.held_bytes > self._max_bytes:
            for silent in self._holding():
                self._shed(silent)
                if self.held_bytes <= self._max_bytes:
                    return

    def forget(self, connection: Sheddable) -> None:
        """Remove a connection that is closed."""
        self._connections.pop(connection, None)

    def _holding(self) -> Iterator[Sheddable]:
        return (connection for connection in list(self._connections) if connection.held_bytes > 0)

    def _shed(self, connection: Sheddable) -> None:
        self.forget(connection)
        connection.shed()
