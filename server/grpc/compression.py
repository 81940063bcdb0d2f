"""Messages that a client has compressed."""

import zlib
from collections.abc import Mapping
from typing import Final

from server.errors import MalformedRequestError

# The `grpc-encoding`s, and zlib's number for each format (RFC 1952 and RFC 1950).
FORMATS: Final[Mapping[str, int]] = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def decompress(data: bytes, encoding: str, limit: int) -> bytes:
    """Return a message as it was; of one of more than `limit` bytes, just more than that many are unpacked.

    Raises MalformedRequestError.
    """
    decompressor = zlib.decompressobj(FORMATS[encoding])
    try:
        message = decompressor.decompress(data, limit + 1)
    except zlib.error as error:
        raise MalformedRequestError(f"The message is not valid {encoding}") from error
    if len(message) <= limit and not decompressor.eof:
        raise MalformedRequestError(f"The message is not valid {encoding}")
    return message
