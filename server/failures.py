"""What a failure is for the caller, in one place for both protocols."""

import logging

from server.errors import IngestError, ServiceUnavailableError
from server.idempotency import key_was_reused
from storage.errors import IdempotencyKeyReusedError, StorageUnavailableError, WriterOverloadedError

_logger = logging.getLogger(__name__)


def explain(error: Exception, request_id: str) -> IngestError:
    """Return what `error` is for the caller.

    What nobody foresaw is logged under the request id, which is all that the caller learns of it.
    """
    if isinstance(error, IngestError):
        return error
    if isinstance(error, StorageUnavailableError | WriterOverloadedError):
        return ServiceUnavailableError()
    if isinstance(error, IdempotencyKeyReusedError):
        return key_was_reused()
    _logger.error("request %s failed", request_id, exc_info=error)
    return IngestError()
