"""Header blocks: HPACK (RFC 7541) by the library hpack, and what a request's headers must be (RFC 9113, 8)."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

from hpack import Decoder, HPACKDecodingError, HPACKError, OversizedHeaderListError
from hpack.table import HeaderTable

from server.http2.errors import ConnectionFault, ErrorCode

MAX_BLOCK_BYTES: Final = 2**16
MAX_LIST_BYTES: Final = 2**14  # as gRPC's own servers take; see `RequestHead.is_too_large`
ENTRY_BYTES: Final = 32  # that a header counts beside its name and value (RFC 9113, 6.5.2)

_REMEMBERED = 8  # blocks of a connection
_REMEMBERED_BYTES = 2048  # of one
_PSEUDO_HEADERS = frozenset({b":method", b":scheme", b":path", b":authority"})
_OF_CONNECTIONS = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_FORBIDDEN_IN_VALUES = re.compile(rb"[\0\r\n]")

Headers = Sequence[tuple[bytes, bytes]]
Parsed = TypeVar("Parsed")


class MalformedHeadersError(Exception):
    """Headers that are no request."""


class RequestHead:
    """The headers of a request; those of the same name are one (RFC 9110, 5.3)."""

    __slots__ = ("content_length", "fields", "is_too_large", "method", "path")

    def __init__(self, headers: Headers) -> None:
        """Raises MalformedHeadersError."""
        pseudo: dict[bytes, bytes] = {}
        fields: dict[str, str] = {}
        for name, value in headers:
            if name.startswith(b":"):
                if fields or name in pseudo or name not in _PSEUDO_HEADERS:
                    raise MalformedHeadersError
                pseudo[name] = value
                continue
            _check(name, value)
            key, text = name.decode("latin-1"), value.decode("latin-1").strip(" \t")
            fields[key] = f"{fields[key]},{text}" if key in fields else text
        if not pseudo.get(b":path") or b":method" not in pseudo or b":scheme" not in pseudo:
            raise MalformedHeadersError
        self.method = pseudo[b":method"]
        self.path = pseudo[b":path"]
        self.fields = fields
        self.content_length = _parse_length(fields.get("content-length"))
        # It can still be answered, unlike one that is larger than a block may be.
        self.is_too_large = sum(len(name) + len(value) + ENTRY_BYTES for name, value in headers) > MAX_LIST_BYTES


class HeaderDecoder(Generic[Parsed]):
    """Decodes the header blocks of a connection.

    Clients send the same block call after call, so what was made of the latest ones is remembered. That is right for
    as long as no block changes the dynamic table, to which the bytes of all blocks refer.
    """

    def __init__(self, parse: "Callable[[RequestHead], Parsed]") -> None:
        """`parse` makes of a head what is remembered of it."""
        self._parse = parse
        self._decoder = Decoder(MAX_BLOCK_BYTES)
        self._table = self._decoder.header_table = _CountingTable()
        self._remembered: dict[bytes, Parsed] = {}

    def decode_request(self, block: bytes) -> "Parsed":
        """Return what was made of a request's head. Raises ConnectionFault, MalformedHeadersError."""
        parsed = self._remembered.get(block)
        if parsed is not None:
            return parsed
        changes = self._table.changes
        parsed = self._parse(RequestHead(self.decode(block)))
        if self._table.changes == changes and len(block) <= _REMEMBERED_BYTES:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[block] = parsed
        return parsed

    def decode(self, block: bytes) -> Headers:
        """Return the headers of a block. Raises ConnectionFault."""
        changes = self._table.changes
        self._table.resizes = 0
        try:
            headers: Any = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError as error:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "headers are too large") from error
        except (HPACKError, IndexError) as error:  # the latter of blocks that end too early
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "headers that are no HPACK") from error
        if self._table.changes != changes:
            self._remembered.clear()
        return headers  # type: ignore[no-any-return]


class _CountingTable(HeaderTable):
    """A dynamic table that counts its changes, and refuses to be resized more often than a block may want it."""

    MOST_RESIZES = 16  # two will do (RFC 7541, 4.2), but not all clients leave out those that mean nothing

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0
        self.resizes = 0  # by the present block

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)

    @property
    def maxsize(self) -> int:
        return self._maxsize

    @maxsize.setter
    def maxsize(self, size: int) -> None:
        self.changes += 1
        self.resizes += 1
        if self.resizes > self.MOST_RESIZES:
            raise HPACKDecodingError("a block resizes the table too often")
        HeaderTable.maxsize.fset(self, size)  # type: ignore[attr-defined]


def encode_headers(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a block of literals, which neither use nor change a dynamic table."""
    return b"".join(b"\0" + _encode_string(name) + _encode_string(value) for name, value in headers)


def encode_status(status: int) -> bytes:
    """Return the block that begins an answer."""
    if status == 200:
        return b"\x88"  # an entry of the static table
    return b"\x08\x03%d" % status  # a literal value with the name of entry 8


def _encode_string(data: bytes) -> bytes:
    """Return a string as it is, its length as an integer with a prefix of seven bits (RFC 7541, 5.1 and 5.2)."""
    if len(data) < 0x7F:
        return bytes((len(data),)) + data
    length, rest = b"\x7f", len(data) - 0x7F
    while rest >= 0x80:
        length += bytes((rest & 0x7F | 0x80,))
        rest >>= 7
    return length + bytes((rest,)) + data


def _check(name: bytes, value: bytes) -> None:
    if name in _OF_CONNECTIONS or not _NAME.fullmatch(name) or _FORBIDDEN_IN_VALUES.search(value):
        raise MalformedHeadersError
    if name == b"te" and value != b"trailers":
        raise MalformedHeadersError


def _parse_length(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise MalformedHeadersError
    return int(text)
