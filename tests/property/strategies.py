"""What hypothesis makes batches of: values that the contract accepts, and values that it refuses."""

import string
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

from hypothesis import strategies as st

MAX_INT64 = 2**63 - 1
TOKEN = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"

characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])


def text(longest: int) -> st.SearchStrategy[str]:
    """Text that is not blank."""
    return st.text(characters, min_size=1, max_size=longest).filter(lambda value: bool(value.strip()))


sizes = st.integers(0, MAX_INT64) | st.integers(2**31 - 2, 2**31 + 1)
timestamps = st.datetimes(
    datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.sampled_from([UTC, timezone(timedelta(hours=-5))])
)

valid_items = st.fixed_dictionaries(
    {
        "traceId": text(200).map(lambda value: f"{value}{uuid4().hex}"),
        "direction": st.sampled_from(["inbound", "outbound"]),
        "method": st.text(TOKEN, min_size=1, max_size=32),
        "host": text(255),
        "path": text(500).filter(lambda value: bool(value.replace("#", "?").split("?")[0].strip())),
        "statusCode": st.one_of(st.just(0), st.integers(100, 599)),
        "durationMs": sizes,
        "requestSize": sizes,
        "responseSize": sizes,
        "timestamp": timestamps.map(datetime.isoformat),
    },
    optional={
        "userId": st.text(characters, max_size=255),
        "errorFingerprint": st.text(characters, max_size=255),
    },
)

blank = st.sampled_from(["", " ", "\t\n", "\u2003"])
with_nul = st.tuples(st.text(characters, max_size=5), st.text(characters, max_size=5)).map("\0".join)
negative = st.integers(-(2**63), -1)

# Values that both protocols can carry and both must refuse.
invalid_values: dict[str, st.SearchStrategy[Any]] = {
    "traceId": blank | with_nul | st.text(characters, min_size=256, max_size=300).filter(lambda value: value.strip()),
    "direction": st.text(characters, max_size=20).filter(lambda value: value not in ("inbound", "outbound")),
    "method": blank | with_nul | st.text(TOKEN, min_size=33, max_size=40) | st.sampled_from(["A B", "Ä", "a/b"]),
    "host": blank | with_nul | st.text(characters, min_size=256, max_size=300).filter(lambda value: value.strip()),
    "path": blank | with_nul | st.sampled_from(["?a", "#", " ?"]),
    "statusCode": st.integers(-(2**31), -1) | st.integers(1, 99) | st.integers(600, 2**31 - 1),
    "durationMs": negative,
    "requestSize": negative,
    "responseSize": negative,
    "userId": with_nul | st.text(characters, min_size=256, max_size=300),
    "errorFingerprint": with_nul | st.text(characters, min_size=256, max_size=300),
}

# Anything at all that JSON can hold.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(characters),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(characters), children, max_size=3),
    max_leaves=5,
)
