"""What is remembered of header blocks never differs from what they say."""

from collections.abc import Sequence

import hpack
from hypothesis import given
from hypothesis import strategies as st

from server.http2.errors import ConnectionFault
from server.http2.header_blocks import HeaderDecoder, MalformedHeadersError, RequestHead

FIXED = [(":method", "POST"), (":scheme", "http"), (":path", "/")]
# Few values, so that blocks recur; each may go into the dynamic table or not.
FIELD = st.tuples(st.sampled_from(["x-a", "x-b"]), st.sampled_from(["1", "2", "x" * 900]), st.booleans())
STEPS = st.lists(
    st.tuples(st.lists(FIELD, max_size=4), st.booleans(), st.sampled_from([None, 0, 100, 2000, 4096])),
    max_size=30,
)


@given(STEPS)
def test_a_decoder_that_remembers_says_what_one_says_that_does_not(
    steps: Sequence[tuple[list[tuple[str, str, bool]], bool, int | None]],
) -> None:
    encoder, plain = hpack.Encoder(), hpack.Decoder()
    remembering: HeaderDecoder[dict[str, str]] = HeaderDecoder(lambda head: head.fields)
    block = b""
    for fields, is_repeated, size in steps:
        if size is not None and not is_repeated:
            encoder.header_table_size = size
        if not is_repeated:
            headers = [hpack.HeaderTuple(*header) for header in FIXED]
            headers += [
                (hpack.HeaderTuple if is_kept else hpack.NeverIndexedHeaderTuple)(name, value)
                for name, value, is_kept in fields
            ]
            block = encoder.encode(headers)
        # One that is repeated may mean something else by now, or nothing.
        expected = fields_of(plain, block)
        try:
            assert remembering.decode_request(block) == expected
        except (ConnectionFault, MalformedHeadersError):
            assert expected is None
            return


def fields_of(decoder: hpack.Decoder, block: bytes) -> dict[str, str] | None:
    """Return the fields of a block, None when it is no request."""
    try:
        return RequestHead(list(decoder.decode(block, raw=True))).fields
    except (hpack.HPACKError, MalformedHeadersError):
        return None
