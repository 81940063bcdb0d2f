"""Messages that a client has compressed."""

from collections.abc import Mapping
from typing import Final

from server.errors import MalformedRequestError
from server.unpacking import GZIP, ZLIB, BrokenDataError, unpack

# The `grpc-encoding`s, and zlib's number for each format.
FORMATS: Final[Mapping[str, int]] = {"gzip": GZIP, "deflate": ZLIB}


def decompress(data: bytes, encoding: str, limit: int) -> bytes:
    """Return a message as it was; of one of more than `limit` bytes, just more than that many are unpacked.

    Raises MalformedRequestError.
    """
    try:
        return unpack(data, FORMATS[encoding], limit + 1)
    except BrokenDataError as error:
        raise MalformedRequestError(f"The message is not valid {encoding}") from error
