"""Protobuf messages on the wire: valid batches whose fields and bytes are changed, and bytes that never were any."""

from random import Random

from tests.fuzz.identity import FOREIGN_PROJECT_ID, PROJECT_ID
from tests.fuzz.mutation import mutate

# A field on the wire: number, wire type, and its value with its length, if it has one.
Field = tuple[int, int, bytes]

VARINT, FIXED64, LENGTH, GROUP, END_GROUP, FIXED32 = range(6)


def varint(value: int, padding: int = 0) -> bytes:
    """Return a number (modulo 2 ** 64) as a varint, longer than need be by `padding` bytes."""
    value %= 2**64
    groups = [value >> shift & 0x7F for shift in range(0, max(value.bit_length(), 1), 7)] + [0] * padding
    return bytes([group | 0x80 for group in groups[:-1]] + [groups[-1]])


def text(value: str | bytes) -> bytes:
    """Return a string or bytes with their length."""
    data = value.encode() if isinstance(value, str) else value
    return varint(len(data)) + data


NUMBERS = [
    *map(varint, (0, 1, -1, 99, 100, 599, 600, 2**31 - 1, 2**31, -(2**31), 2**32, 2**32 + 200, 2**63 - 1, 2**63)),
    varint(200, 3), varint(200, 8), varint(0, 9), b"\x80" * 10 + b"\x01", b"\x80" * 20, b"\xff" * 10, b"\x80", b"",
]  # fmt: skip
TEXTS = [
    *map(text, ("", " ", "\u2003", "\0", "a\0b", "x" * 255, "x" * 256, "é" * 256, "y" * 8193, "z" * 70_000, "GET",
    "G T", "inbound", "Inbound", "/a?secret", "?", "\r\n", "'; DROP TABLE http_requests; --", "\\N",
                PROJECT_ID.upper(), FOREIGN_PROJECT_ID)),
    text(b"\xff"), text(b"\xed\xa0\x80"), text(b"\xc0\x80"), varint(5) + b"abc", varint(2**31) + b"abc", varint(-1),
    varint(2**63) + b"a",
]  # fmt: skip
TIMESTAMPS = [
    text(b""), text(b"\x08" + varint(-62_135_596_800)), text(b"\x08" + varint(-62_135_596_801)),
    text(b"\x08" + varint(253_402_300_799) + b"\x10" + varint(999_999_999)), text(b"\x08" + varint(253_402_300_800)),
    text(b"\x08\x01\x10" + varint(10**9)), text(b"\x08\x01\x10" + varint(-1)), text(b"\x08" + varint(2**63 - 1)),
    text(b"\x08" + varint(2**63)), text(b"\x08\x01\x08\x02"), text(b"\x08\x80"), text(b"\x0a\x01a"),
]  # fmt: skip
TOKENS = [
    *(value for value in NUMBERS + TEXTS + TIMESTAMPS if 0 < len(value) < 300),
    b"\x0b",
    b"\x0c",
    b"\x0f",
    b"\x00",
]
MOST_ITEMS = 4
LARGE_ITEM_BYTES = 20_000


def make_message(source: Random) -> bytes:
    """Return a message: a tenth is a valid batch, a twentieth never was one, the others are batches with changes."""
    kind = source.random()
    if kind < 0.05:
        return source.randbytes(source.randrange(60))
    items = [_make_item(source) for _ in range(source.randint(1, MOST_ITEMS))]
    batch: list[Field] = [(1, LENGTH, text(PROJECT_ID))]
    if kind > 0.15:
        for _ in range(source.randint(1, 2)):
            _change_fields(source, source.choice([*items, *items, batch]))
    rendered = [(2, LENGTH, text(_render(item))) for item in items]
    if kind > 0.97:
        # A message many times the limit ends its stream.
        counts = [0, 99, 100, 101, 150] if len(rendered[0][2]) < LARGE_ITEM_BYTES else [0, 2]
        rendered = rendered[:1] * source.choice(counts)
    message = _render(batch + rendered)
    return mutate(source, message, TOKENS) if 0.6 < kind < 0.9 else message


def valid_message(source: Random, project_id: str = PROJECT_ID) -> bytes:
    """Return a valid batch of two items."""
    items = [(2, LENGTH, text(_render(_make_item(source)))) for _ in range(2)]
    return _render([(1, LENGTH, text(project_id)), *items])


def _make_item(source: Random) -> list[Field]:
    fields = [
        (1, LENGTH, text(f"trace-{source.getrandbits(64):x}")),
        (2, LENGTH, text(source.choice(["inbound", "outbound"]))),
        (3, LENGTH, text(source.choice(["GET", "post", "PURGE"]))),
        (4, LENGTH, text("api.example.com")),
        (5, LENGTH, text(source.choice(["/", "/v1/orders?token=secret"]))),
        (6, VARINT, varint(source.choice([0, 200, 599]))),
        (7, VARINT, varint(source.randrange(10**6))),
        (8, VARINT, varint(0)),
        (9, VARINT, varint(2**63 - 1)),
        (12, LENGTH, text(b"\x08" + varint(source.randrange(2 * 10**9)) + b"\x10" + varint(source.randrange(10**9)))),
    ]
    optional = [(10, LENGTH, text("usr_99")), (11, LENGTH, text(""))]
    return fields + source.sample(optional, source.randint(0, 2))


def _change_fields(source: Random, fields: list[Field]) -> None:
    index = source.randrange(len(fields))
    number, kind, value = fields[index]
    odd = source.choice({VARINT: NUMBERS, LENGTH: TIMESTAMPS if number == 12 else TEXTS}.get(kind, NUMBERS))
    match source.randrange(10):
        case 0:
            fields.append((number, kind, value))
        case 1:
            fields.append((number, kind, odd))
        case 2 if len(fields) > 1:
            del fields[index]
        case 3:
            fields[index] = (number, source.randrange(8), value)
        case 4:
            fields[index] = (source.choice([0, 13, 15, 16, 100, 2**29 - 1, 2**29, source.randint(1, 12)]), kind, value)
        case 5:
            fields.insert(index, (source.choice([99, number]), GROUP, value))
            fields.insert(index + 1, (source.choice([99, number]), END_GROUP, b""))
        case 6:
            fields.insert(index, (50, GROUP, varint(50 << 3 | GROUP) * source.choice([1, 90, 200, 10_000])))
        case _:
            fields[index] = (number, kind, odd)


def _render(fields: list[Field]) -> bytes:
    return b"".join(varint(number << 3 | kind) + value for number, kind, value in fields)
