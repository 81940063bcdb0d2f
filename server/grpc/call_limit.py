"""Bounds the calls that a worker has under way."""

from server.errors import ServiceUnavailableError
from server.grpc.call import Handler, IncomingCall


class CallLimit:
    """Counts calls of some methods; further ones are told to try again later."""

    def __init__(self, most: int) -> None:
        self._left = most

    def bound(self, handle: Handler) -> Handler:
        """Return a handler that counts its calls here."""

        async def serve(call: IncomingCall) -> bytes | None:
            if self._left <= 0:
                raise ServiceUnavailableError
            self._left -= 1
            try:
                return await handle(call)
            finally:
                self._left += 1

        return serve
