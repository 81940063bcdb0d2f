"""A request to store a batch, as a protocol hands it to the service."""

from abc import ABC, abstractmethod

from server.access.rate_limits import Usage
from server.compiled.encoder import CompiledBatch, CompiledEncoder
from server.contract.batch import RawBatch
from server.observability.request_report import RequestRecord
from storage.keys.api_keys import ApiKey


class IngestRequest(ABC):
    """The caller's headers and the means to read and decode the batch. The service decides when each is used."""

    # Whose request it is; None until the service has found it valid.
    key: ApiKey | None = None
    # What the request takes from the limits of its key; None until the key is known, and for a key without limits.
    usage: Usage | None = None
    # The idempotency key that came in a header or metadata; None without one.
    idempotency_key: str | None = None

    def __init__(self, record: RequestRecord) -> None:
        self.record = record

    @abstractmethod
    def header(self, name: str) -> str | None:
        """Return the value of a header (HTTP) or of metadata (gRPC) by its lower-case name, None without one."""

    @abstractmethod
    async def read(self, limit: int) -> bytes:
        """Return the body, unpacked; of a body of more than `limit` bytes, just more than that many are enough.

        It is called only once the key is found valid. Raises IngestError.
        """

    @abstractmethod
    def encode(self, encoder: CompiledEncoder, body: bytes, key: ApiKey) -> CompiledBatch | None:
        """Return the rows of a body that was sent with `key`, None when only `decode` can tell what it is."""

    @abstractmethod
    def decode(self, body: bytes) -> RawBatch:
        """Return the batch that a body is. Raises MalformedRequestError, ValidationFailedError."""
