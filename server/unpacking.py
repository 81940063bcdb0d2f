"""Unpacking what clients have compressed, within bounds of memory and time."""

import zlib
from typing import Final

GZIP: Final = 16 + zlib.MAX_WBITS  # zlib's number for the format of RFC 1952
ZLIB: Final = zlib.MAX_WBITS  # and for that of RFC 1950

# zlib copies what follows a member in the piece that it was given: many tiny members cost as many copies.
_PIECE_BYTES = 4096
_MOST_MEMBERS = 1000  # each costs some 0.1 ms, however little is in it


class BrokenDataError(Exception):
    """Data that are not in their format, end too early, or have far more members than anybody needs."""


def unpack(packed: bytes, window_bits: int, size: int) -> bytes:
    """Return at most `size` bytes of compressed data, which may have several members (RFC 1952, 2.2).

    Raises BrokenDataError.
    """
    unpacked: list[bytes] = []
    view, at, members = memoryview(packed), 0, 0
    while at < len(packed) and size > 0:
        members += 1
        if members > _MOST_MEMBERS:
            raise BrokenDataError
        member = zlib.decompressobj(window_bits)
        while not member.eof and size > 0:
            piece = view[at : at + _PIECE_BYTES]
            if not piece:
                raise BrokenDataError
            try:
                data = member.decompress(piece, size)
            except zlib.error as error:
                raise BrokenDataError from error
            at += len(piece) - len(member.unused_data) - len(member.unconsumed_tail)
            size -= len(data)
            unpacked.append(data)
    return b"".join(unpacked)
