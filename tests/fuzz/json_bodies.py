"""JSON bodies: valid batches whose values, keys and text are changed, and bodies that never were batches."""

import json
from collections.abc import Callable
from random import Random

from tests.fuzz.identity import FOREIGN_PROJECT_ID, PROJECT_ID
from tests.fuzz.mutation import mutate

# An object as its members, name and value, each in JSON already; so that nothing need be valid.
Members = list[tuple[bytes, bytes]]

NUMBERS = [
    b"0", b"-0", b"-1", b"1", b"99", b"100", b"599", b"600", b"200.0", b"2e2", b"20E1", b"1.5", b"-0.0", b"1e-400",
    b"1e400", b"-1e400", b"1e308", b"1e18", b"9.2e18", b"9223372036854775807", b"9223372036854775808",
    b"-9223372036854775808", b"-9223372036854775809", b"18446744073709551615", b"18446744073709551616",
    b"9007199254740993", b"9007199254740993.0", b"1" * 30, b"1" * 400, b"1" * 5000, b"0." + b"1" * 500,
    b"00", b"01", b"+1", b"1.", b".5", b"0x10", b"1_000", b"1e", b"NaN", b"Infinity", b"-Infinity", b"-",
]  # fmt: skip
STRINGS = [
    b'""', b'" "', b'"\\t\\n"', b'"\\u2003\\u3000"', b'"\xe2\x80\x83"', b'"\\u200b"', b'"\\u0000"', b'"a\\u0000b"',
    b'"a\x00b"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\ud83d\\ude00"', b'"\xf0\x9f\x98\x80"', b'"\xed\xa0\x80"',
    b'"\xff\xfe"', b'"\xc0\x80"', b'"\xf4\x90\x80\x80"', b'"\\x41"', b'"\\u12"', b'"\\"', b'"unterminated', b"'single'",
    b'"' + b"x" * 255 + b'"', b'"' + b"x" * 256 + b'"', b'"' + "é".encode() * 255 + b'"',
    b'"' + b"\\u00e9" * 256 + b'"', b'"' + b"y" * 8192 + b'"', b'"' + b"y" * 8193 + b'"',
    b'"' + b"z" * 100_000 + b'"', b'"\\/\\b\\f\\r"', b'"\x7f\x1f"', b'"\xef\xbb\xbf"', b'"\\ufeff"', b'"200"',
    b'"true"', b'"null"', b'"GET"', b'"get"', b'"G\xc3\x89T"', b'"GET /"', b'"/a?token=secret#x"', b'"?"', b'"#"',
    b'"/\\n\\r"', b'"inbound"', b'"Inbound"', b'"inbound "', b"\"'; DROP TABLE http_requests; --\"", b'"\\\\N"',
    b'"\\\\."', b'"%s %n {0} ${x}"', b'"2026-03-31T12:00:00Z"', b'"2016-12-31T23:59:60Z"',
    b'"2026-03-31t12:00:00.123456789+23:59"', b'"2026-02-30T12:00:00Z"', b'"0001-01-01T00:00:00Z"',
    b'"9999-12-31T23:59:59.999999Z"', b'"9999-12-31T23:59:59-23:59"', b'"2026-03-31"',
    b'"2026-03-31T12:00:00.' + b"1" * 3000 + b'Z"', b'"' + PROJECT_ID.upper().encode() + b'"',
    b'"' + FOREIGN_PROJECT_ID.encode() + b'"', b'"{' + PROJECT_ID.encode() + b'}"',
]  # fmt: skip
STRUCTURES = [
    b"null", b"true", b"false", b"[]", b"{}", b"[null]", b"[[]]", b'{"a":1}', b"[[[[[[[[]]]]]]]]", b"", b",", b":",
    b"[" * 50 + b"]" * 50, b"[" * 1500 + b"]" * 1500, b"[" * 20_000, b'{"a":' * 400 + b"1" + b"}" * 400,
    b'{"a":' * 5000, b"undefined", b"None", b"/* */1", b"1 2", b"[1,]", b'{"a":1,}', b'{"a" 1}', b"{1:2}",
]  # fmt: skip
ODD_VALUES = NUMBERS + STRINGS + STRUCTURES
ODD_KEYS = [
    b'"traceid"', b'"trace_id"', b'"\\u0074raceId"', b'"trace\\u0049d"', b'""', b'"__proto__"', b'"requests"',
    b'"projectId"', b'"traceId\\u0000"', b'"\xff"', b"traceId", b"1", b"null", b'"' + b"k" * 70_000 + b'"',
]  # fmt: skip
TOKENS = [
    *(value for value in ODD_VALUES if len(value) < 300), b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\\u0000", b"\\",
    b'"', b"{", b"}", b"[", b"]", b",", b":", b"\xc2\xa0", b"\xe2\x80\xa8", b"\n", b"\r", b"//", b"#",
]  # fmt: skip
FIELDS: dict[str, Callable[[Random], object]] = {
    "traceId": lambda source: f"trace-{source.getrandbits(64):x}",
    "direction": lambda source: source.choice(["inbound", "outbound"]),
    "method": lambda source: source.choice(["GET", "post", "PURGE"]),
    "host": lambda source: source.choice(["api.example.com", "[::1]:80", "mücke.example"]),
    "path": lambda source: source.choice(["/", "/v1/orders", "/a?b=c", "/ü#x"]),
    "statusCode": lambda source: source.choice([0, 200, 404, 599]),
    "durationMs": lambda source: source.randrange(10**6),
    "requestSize": lambda source: source.choice([0, 2**63 - 1, 512]),
    "responseSize": lambda source: source.randrange(10**9),
    "userId": lambda source: source.choice(["usr_99", "", None]),
    "errorFingerprint": lambda source: source.choice(["e1", None]),
    "timestamp": lambda source: source.choice(["2026-03-31T12:00:00.000Z", "1970-01-01T00:00:00+02:00"]),
}
MOST_ITEMS = 5
LARGE_ITEM_BYTES = 50_000


def make_body(source: Random) -> bytes:
    """Return a body: a tenth is a valid batch, a tenth never was one, the others are batches with changes."""
    kind = source.random()
    if kind < 0.1:
        return _make_value(source, 4)
    items = [_make_item(source) for _ in range(source.choice([1, 1, 2, source.randint(1, MOST_ITEMS)]))]
    batch: Members = [(b'"projectId"', b'"%b"' % PROJECT_ID.encode()), (b'"requests"', b"")]
    if kind > 0.2:
        for _ in range(source.randint(1, 2)):
            _change_members(source, source.choice([*items, *items, batch]))
    rendered = b"[" + b",".join(map(_render, items)) + b"]"
    if kind > 0.97:
        # Of a body many times the limit, a server need not read the rest, nor what follows on the connection.
        count = source.choice([0, 99, 100, 101, 150] if len(_render(items[0])) < LARGE_ITEM_BYTES else [0, 2])
        rendered = b"[" + b",".join([_render(items[0])] * count) + b"]"
    body = _render([(name, value or rendered) for name, value in batch])
    return _change_text(source, body) if 0.5 < kind < 0.9 else body


def _make_item(source: Random) -> Members:
    return [(json.dumps(name).encode(), json.dumps(make(source)).encode()) for name, make in FIELDS.items()]


def _change_members(source: Random, members: Members) -> None:
    index = source.randrange(len(members))
    name, value = members[index]
    match source.randrange(8):
        case 0:
            del members[index]
            members.append((name, value))
        case 1:
            members.insert(source.randint(0, len(members)), (name, source.choice(ODD_VALUES)))
        case 2:
            members.insert(index, (source.choice(ODD_KEYS), source.choice(ODD_VALUES)))
        case 3:
            members[index] = (source.choice(ODD_KEYS), value)
        case 4 if len(members) > 1:
            del members[index]
        case _:
            members[index] = (name, source.choice(ODD_VALUES))


def _change_text(source: Random, body: bytes) -> bytes:
    match source.randrange(12):
        case 0:
            return b"\xef\xbb\xbf" + body
        case 1:
            return body.decode(errors="replace").encode(source.choice(["utf-16", "utf-32", "utf-16-le", "utf-7"]))
        case 2:
            return source.choice([b" ", b"\n", b"\x0b", b"\xc2\xa0", b"\x00"]) + body
        case 3:
            return body + source.choice([b" ", b"\r\n", b"{}", b",", b"\x00", body])
        case _:
            return mutate(source, body, TOKENS)


def _make_value(source: Random, depth: int) -> bytes:
    if depth == 0 or source.random() < 0.3:
        return source.choice(ODD_VALUES) if source.random() < 0.7 else source.randbytes(source.randrange(40))
    values = [_make_value(source, depth - 1) for _ in range(source.randrange(4))]
    if source.random() < 0.5:
        return b"[" + b",".join(values) + b"]"
    names = [b'"projectId"', b'"requests"', *ODD_KEYS]
    return _render([(source.choice(names), value) for value in values])


def _render(members: Members) -> bytes:
    return b"{" + b",".join(name + b":" + value for name, value in members) + b"}"
