"""The streams of a connection (RFC 9113, 5.1)."""

from collections.abc import Iterator
from typing import Final

from server.http2.errors import ConnectionFault, ErrorCode, StreamFault
from server.http2.stream import Stream

MAX_CUT: Final = 1000


class StreamTable:
    """Knows which streams are open, which are closed, and which the client may not yet know to be closed."""

    def __init__(self) -> None:
        self._open: dict[int, Stream] = {}
        self._cut: dict[int, None] = {}  # ended before their clients knew; the latest ones
        self._last_id = 0  # of the latest stream that the client has opened

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._open.values())

    def opens(self, stream_id: int) -> bool:
        """Note HEADERS of a stream, and return whether they open it. Raises ConnectionFault."""
        if not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on a stream that no client may open")
        if stream_id <= self._last_id:
            return False
        self._last_id = stream_id
        return True

    def add(self, stream: Stream) -> None:
        """Add a stream that has been opened."""
        self._open[stream.id] = stream

    def find(self, stream_id: int) -> Stream | None:
        """Return an open stream, None for a closed one. Raises ConnectionFault when it was never opened."""
        stream = self._open.get(stream_id)
        if stream is None and (stream_id == 0 or stream_id > self._last_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame of no stream")
        return stream

    def find_receiving(self, stream_id: int) -> Stream | None:
        """Return an open stream that gets DATA, None for one that the client may not know to be closed.

        Raises StreamFault, ConnectionFault.
        """
        stream = self.find(stream_id)
        if stream is None and stream_id not in self._cut:
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED)
        return stream

    def find_ending(self, stream_id: int) -> Stream | None:
        """Return an open stream that gets trailers, None for one that the client may not know to be closed.

        Raises ConnectionFault.
        """
        stream = self._open.get(stream_id)
        if stream is None and stream_id not in self._cut:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")
        return stream

    def remove(self, stream_id: int, *, is_cut: bool) -> Stream | None:
        """Take out a stream and return it; `is_cut`: unless its request has ended, more may come of it."""
        stream = self._open.pop(stream_id, None)
        if is_cut and (stream is None or not stream.has_ended):
            self._cut[stream_id] = None
            if len(self._cut) > MAX_CUT:
                del self._cut[next(iter(self._cut))]
        return stream

    def clear(self) -> list[Stream]:
        """Take out all streams and return them."""
        streams = list(self._open.values())
        self._open = {}
        return streams
