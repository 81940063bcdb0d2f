"""What connections hand requests to."""

from typing import Any, Protocol

from server.http2.header_blocks import RequestHead
from server.http2.stream import Stream


class Application(Protocol):
    """What answers requests."""

    def parse(self, head: RequestHead) -> Any:
        """Return what it wants to know of a head; a client that sends the same one again may get the same object."""

    def begin(self, stream: Stream) -> None:
        """Answer a request, now or later; `stream.head` is what `parse` returned."""
