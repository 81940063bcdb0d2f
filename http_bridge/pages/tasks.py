"""How pages have a query process do what is not a query."""

from typing import TypeVar

import msgspec

from http_bridge.http1.greenlets import wait
from server.access.tasks import Task
from server.errors import ErrorCode, IngestError, ValidationFailedError
from server.query.relay.client import QueryRelay

Answer = TypeVar("Answer")


def perform(relay: QueryRelay, task: Task, answer: "type[Answer]") -> "Answer":
    """Have a task done and return its answer. Raises IngestError; ValidationFailedError for a wrong value."""
    try:
        message = wait(relay.perform(task))
    except IngestError as error:
        if error.code is ErrorCode.VALIDATION_ERROR:
            raise ValidationFailedError(error.details) from error
        raise
    return msgspec.msgpack.decode(message, type=answer)
