"""grpc.health.v1: whether a batch could be stored now."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import DESCRIPTOR, HealthCheckRequest, HealthCheckResponse

from server.errors import GrpcStatus, MalformedRequestError
from server.grpc.call import Handler, IncomingCall
from server.grpc.call_limit import CallLimit
from server.grpc.errors import CallError

HEALTH_SERVICE_NAME: Final[str] = DESCRIPTOR.services_by_name["Health"].full_name


class HealthService:
    """Tells the status of the server ("") and of its services, as it was set."""

    def __init__(self, services: tuple[str, ...], limit: CallLimit) -> None:
        """All are SERVING to begin with; `limit` bounds those that watch, who need no key."""
        self._statuses: dict[str, Any] = dict.fromkeys(("", *services), HealthCheckResponse.SERVING)
        self._limit = limit
        self._changed = asyncio.Event()  # another one after each change
        self._is_stopping = False

    def methods(self) -> Mapping[str, Handler]:
        """Return the handlers by the names of their methods."""
        handlers = {"Check": self._check, "List": self._list, "Watch": self._watch}
        return {f"{HEALTH_SERVICE_NAME}/{name}": self._limit.bound(handle) for name, handle in handlers.items()}

    def set(self, *, is_serving: bool) -> None:
        """Set the status of all; not any more once `stop` was called."""
        status = HealthCheckResponse.SERVING if is_serving else HealthCheckResponse.NOT_SERVING
        if not self._is_stopping and status != self._statuses[""]:
            self._statuses = dict.fromkeys(self._statuses, status)
            self._wake()

    def stop(self) -> None:
        """Say NOT_SERVING from now on, and end all watches."""
        self.set(is_serving=False)
        self._is_stopping = True
        self._wake()

    async def _check(self, call: IncomingCall) -> bytes:
        status = self._statuses.get(await _read_name(call))
        if status is None:
            raise CallError(GrpcStatus.NOT_FOUND, "")
        return HealthCheckResponse(status=status).SerializeToString()

    async def _list(self, call: IncomingCall) -> bytes:
        await call.read()
        statuses = {name: HealthCheckResponse(status=status) for name, status in self._statuses.items()}
        answer: bytes = health_pb2.HealthListResponse(statuses=statuses).SerializeToString()  # type: ignore[attr-defined] # of a stub
        return answer

    async def _watch(self, call: IncomingCall) -> None:
        name = await _read_name(call)
        told = None
        while True:
            changed, is_last = self._changed, self._is_stopping
            status = self._statuses.get(name, HealthCheckResponse.SERVICE_UNKNOWN)
            if status != told:
                await call.write(HealthCheckResponse(status=status).SerializeToString())
                told = status
            if is_last:
                return
            await changed.wait()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


async def _read_name(call: IncomingCall) -> str:
    try:
        return HealthCheckRequest.FromString(await call.read() or b"").service
    except DecodeError as error:
        raise MalformedRequestError("The message is not valid") from error
