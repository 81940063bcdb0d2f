"""The compiled code and the reference on the same bytes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from http_bridge import json_body
from server.contract.batch import RawBatch
from server.contract.validation import validate_batch
from server.errors import IngestError
from server.grpc import messages
from storage.writing.http_requests import HTTP_REQUESTS

if TYPE_CHECKING:  # it is not built where there is no C compiler
    from server.compiled.batch_encoder import BatchEncoder

_NUMBER = 7  # of the project
_HALF = 2**64


@dataclass(frozen=True)
class BothPaths:
    """What each path makes of some bytes: the rows and the idempotency key, None where it makes none."""

    compiled: tuple[int, bytes, object] | None
    reference: tuple[int, bytes, object] | None

    @property
    def agree(self) -> bool:
        """Tell whether the compiled code gave the answer of the reference, or left it to that."""
        return self.compiled in (None, self.reference)


def try_json(encoder: "BatchEncoder", body: bytes, project_id: UUID) -> BothPaths:
    """Return what becomes of a JSON body."""
    return _try(json_body.decode_batch, encoder.encode_json, body, project_id)


def try_message(encoder: "BatchEncoder", message: bytes, project_id: UUID) -> BothPaths:
    """Return what becomes of a protobuf message."""
    return _try(messages.decode_batch, encoder.encode_message, message, project_id)


def _try(
    decode: Callable[[bytes], RawBatch],
    encode: Callable[[bytes, bytes, int, int, int], tuple[int, bytes, str | None] | None],
    data: bytes,
    project_id: UUID,
) -> BothPaths:
    reference = None
    id_of_first = UUID(int=0)
    try:
        batch = decode(data)
        encoded = HTTP_REQUESTS.encode(_NUMBER, validate_batch(batch, project_id))
    except IngestError:
        pass
    else:
        reference = (encoded.rows, encoded.data, batch.idempotency_key)
        first = HTTP_REQUESTS.form.first_row(encoded.data)
        assert isinstance(first["id"], UUID)
        id_of_first = first["id"]
    upper, lower = divmod(id_of_first.int, _HALF)
    return BothPaths(encode(data, project_id.bytes, _NUMBER, upper, lower), reference)
