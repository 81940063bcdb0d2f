"""Unpacking of gzip, whatever it is made of."""

import gzip
import zlib
from typing import Any

import pytest

from server.unpacking import GZIP, BrokenDataError, unpack

TEXT = bytes(range(256)) * 400
EMPTY = gzip.compress(b"", mtime=0)


@pytest.mark.parametrize("size", [1, len(TEXT), 2 * len(TEXT), 10 * len(TEXT)])
def test_members_are_unpacked_up_to_a_size(size: int) -> None:
    packed = gzip.compress(TEXT) + gzip.compress(b"") + gzip.compress(TEXT)
    assert unpack(packed, GZIP, size) == (TEXT + TEXT)[:size]


@pytest.mark.parametrize("packed", [gzip.compress(TEXT)[:-1], gzip.compress(TEXT) + b"x", b"x", EMPTY * 1001])
def test_what_is_no_gzip_is_refused(packed: bytes) -> None:
    with pytest.raises(BrokenDataError):
        unpack(packed, GZIP, 10 * len(TEXT))


def test_many_tiny_members_cost_no_copies_of_all_that_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    given = 0

    class Counting:
        def __init__(self, window_bits: int) -> None:
            self.member = decompressobj(window_bits)

        def decompress(self, data: bytes, size: int) -> bytes:
            nonlocal given
            given += len(data)
            return self.member.decompress(data, size)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.member, name)

    decompressobj = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Counting)
    count = 1000
    assert unpack(EMPTY * count, GZIP, 1) == b""
    assert given <= 4096 * count
