"""gRPC over HTTP/2: finds the handler of each call, runs it, and ends the call with a status."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from server.errors import GrpcStatus, IngestError
from server.grpc.call import CallHead, Handler, IncomingCall
from server.grpc.compression import FORMATS
from server.grpc.errors import CallError
from server.grpc.wire import ACCEPTED_ENCODINGS, CONTENT_TYPE, parse_timeout
from server.http2.header_blocks import MAX_LIST_BYTES, RequestHead, encode_status
from server.http2.stream import Stream

_CONTENT_TYPES: Final = (CONTENT_TYPE + "+", CONTENT_TYPE + ";")  # how others that are gRPC begin

_logger = logging.getLogger(__name__)


class GrpcApplication:
    """Serves the methods of a table, by their paths."""

    def __init__(self, methods: Mapping[str, Handler], max_body_bytes: int) -> None:
        """`methods` are by names like "package.Service/Method"."""
        self._handlers = {f"/{name}".encode(): handler for name, handler in methods.items()}
        self._max_body_bytes = max_body_bytes
        self._tasks: set[asyncio.Task[None]] = set()

    def parse(self, head: RequestHead) -> CallHead:
        """See Application."""
        fields = head.fields
        timeout = fields.get("grpc-timeout")
        encoding = fields.get("grpc-encoding", "identity")
        return CallHead(
            handler=self._handlers.get(head.path),
            metadata=fields,
            timeout_s=parse_timeout(timeout) if timeout is not None else None,
            encoding=encoding,
            content_length=head.content_length,
            refusal=_refusal_of(head, timeout, encoding),
        )

    def begin(self, stream: Stream) -> None:
        """See Application."""
        head: CallHead = stream.head
        if isinstance(head.refusal, int):
            stream.end(encode_status(head.refusal))
            return
        call = IncomingCall(stream, head, self._max_body_bytes)
        if head.refusal is not None:
            call.end(head.refusal.status, head.refusal.message, head.refusal.metadata)
        elif head.handler is None:
            call.end(GrpcStatus.UNIMPLEMENTED, "Method not found!")
        else:
            self._start(stream, call, head)

    def _start(self, stream: Stream, call: IncomingCall, head: CallHead) -> None:
        assert head.handler is not None  # noqa: S101 - see `begin`
        loop = asyncio.get_running_loop()
        task = loop.create_task(_run(call, head.handler))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        stream.on_cancel = task.cancel
        if head.timeout_s is not None:
            timer = loop.call_later(head.timeout_s, _expire, call, task)
            task.add_done_callback(lambda _: timer.cancel())


async def _run(call: IncomingCall, handler: Handler) -> None:
    try:
        await call.finish(await handler(call))
    except IngestError as error:
        call.refuse(error)
    except CallError as error:
        call.end(error.status, error.message, error.metadata)
    except Exception:
        if not call.has_ended:
            _logger.exception("a call failed")
            call.refuse(IngestError())


def _expire(call: IncomingCall, task: "asyncio.Task[None]") -> None:
    call.end(GrpcStatus.DEADLINE_EXCEEDED, "Deadline exceeded")
    task.cancel()


def _refusal_of(head: RequestHead, timeout: str | None, encoding: str) -> CallError | int | None:
    """Return why a call is none that a handler may see."""
    content_type = head.fields.get("content-type", "").lower()
    if head.method != b"POST":
        return 405
    if content_type != CONTENT_TYPE and not content_type.startswith(_CONTENT_TYPES):
        return 415
    if head.is_too_large:
        return CallError(GrpcStatus.RESOURCE_EXHAUSTED, f"Metadata exceeds {MAX_LIST_BYTES} bytes")
    if timeout is not None and parse_timeout(timeout) is None:
        return CallError(GrpcStatus.INTERNAL, "grpc-timeout is not valid")
    if encoding not in FORMATS and encoding != "identity":
        return CallError(
            GrpcStatus.UNIMPLEMENTED,
            "The compression of messages is unknown",
            (("grpc-accept-encoding", ACCEPTED_ENCODINGS),),
        )
    return None
