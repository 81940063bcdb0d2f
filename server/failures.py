"""What a failure is for the caller, in one place for both protocols."""

from server.contract.idempotency import key_was_reused
from server.errors import IngestError, ServiceUnavailableError
from storage.errors import IdempotencyKeyReusedError, StorageUnavailableError, WriterOverloadedError


def explain(error: Exception) -> IngestError:
    """Return what `error` is for the caller; what nobody foresaw is the cause of what is returned."""
    if isinstance(error, IngestError):
        return error
    if isinstance(error, StorageUnavailableError | WriterOverloadedError):
        return ServiceUnavailableError()
    if isinstance(error, IdempotencyKeyReusedError):
        return key_was_reused()
    unforeseen = IngestError()
    unforeseen.__cause__ = error
    return unforeseen
