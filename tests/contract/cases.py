"""The contract's rules as one table: what is sent, and what each violated field is told.

A case is sent over both protocols, unless it is of a kind that only JSON can express.
"""

from dataclasses import dataclass
from typing import Any

from tests.batches import make_item

MAX_INT64 = 2**63 - 1
FIRST = "requests[0]"


@dataclass(frozen=True)
class Case:
    """A batch to refuse. `body` holds what replaces the parts of a valid batch; `...` leaves a part out."""

    name: str
    body: dict[str, Any]
    details: dict[str, str]
    only_json: bool = False


def item_case(name: str, message: str, field: str, value: Any, *, only_json: bool = False) -> Case:
    """Return a case of one item that differs from a valid one in one field."""
    return Case(name, {"requests": [make_item(**{field: value})]}, {f"{FIRST}.{field}": message}, only_json)


NOT_OBJECTS: list[Any] = [None, 5, "item", [], True]
ABSENT_OR_BLANK: dict[str, Any] = {"left out": ..., "null": None, "empty": "", "blank": " \t\n"}
ABSENT: dict[str, Any] = {"left out": ..., "null": None}
NOT_STRINGS: list[Any] = [5, 1.5, True, [], {}]
NOT_INTEGERS: list[Any] = [True, False, 1.5, "200", "", [], {}]
WITHOUT_OFFSET = ("2026-03-31T12:00:00", "2026-03-31t12:00:00.1234567", "2016-12-31T23:59:60")
NOT_TIMESTAMPS: list[Any] = [
    "2026-02-30T12:00:00",
    "2026-03-31T12:00:60",
    "2026-03-31 12:00:00",
    "yesterday",
    "2026-03-31",
    "2026-03-31T12:00Z",
    "2026-03-31 12:00:00Z",
    "2026-02-30T12:00:00Z",
    "2026-03-31T24:00:00Z",
    "2026-03-31T12:60:00Z",
    "2026-03-31T12:00:60Z",
    "2026-03-31T12:00:00.Z",
    "2026-03-31T12:00:00+0200",
    "2026-03-31T12:00:00+24:00",
    "20260331T120000Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-00:01",
    "２026-03-31T12:00:00Z",
    "2026-03-31T12:00:00Z\n",
    1774958400,
    *NOT_STRINGS,
]


REQUIRED_TEXTS = ("traceId", "host", "path", "method")
INTEGERS = ("durationMs", "requestSize", "responseSize")
LONGEST = {"traceId": 255, "method": 32, "host": 255, "path": 8192, "userId": 255, "errorFingerprint": 255}
ALL_REQUIRED = {
    **dict.fromkeys(("traceId", "direction", "method", "host", "path"), "must not be blank"),
    **dict.fromkeys(("statusCode", *INTEGERS), "must not be null"),
    "timestamp": "must not be blank",
}

REFUSED = [
    Case("project id left out", {"projectId": ...}, {"projectId": "must not be null"}),
    Case("project id null", {"projectId": None}, {"projectId": "must not be null"}),
    Case("project id empty", {"projectId": ""}, {"projectId": "must be a valid UUID"}),
    Case("project id no UUID", {"projectId": "my-project"}, {"projectId": "must be a valid UUID"}),
    Case("project id without hyphens", {"projectId": "0" * 32}, {"projectId": "must be a valid UUID"}),
    Case("project id in braces", {"projectId": "{" + "0" * 32 + "}"}, {"projectId": "must be a valid UUID"}),
    Case("project id a number", {"projectId": 5}, {"projectId": "must be a valid UUID"}, only_json=True),
    Case(
        "project of somebody else",
        {"projectId": "a1b2c3d4-e5f6-7890-abcd-ef1234567890"},
        {"projectId": "must match the project of the API key"},
    ),
    Case("requests left out", {"requests": ...}, {"requests": "must not be null"}, only_json=True),
    Case("requests null", {"requests": None}, {"requests": "must not be null"}, only_json=True),
    Case("requests empty", {"requests": []}, {"requests": "must not be empty"}),
    Case("requests an object", {"requests": {}}, {"requests": "must be an array"}, only_json=True),
    Case("requests a string", {"requests": "[]"}, {"requests": "must be an array"}, only_json=True),
    Case(
        "101 requests", {"requests": [make_item()] * 101}, {"requests": "size must be between 1 and 100"}
    ),
    *(
        Case(
            f"an item that is {value!r}",
            {"requests": [make_item(), value, make_item(host="")]},
            {"requests[1]": "must be an object", "requests[2].host": "must not be blank"},
            only_json=True,
        )
        for value in NOT_OBJECTS
    ),
    Case(
        "an empty item",
        {"requests": [make_item(), {}]},
        {f"requests[1].{field}": message for field, message in ALL_REQUIRED.items()},
    ),
    *(
        item_case(f"{field} {name}", "must not be blank", field, value, only_json=value is None)
        for field in (*REQUIRED_TEXTS, "direction")
        for name, value in ABSENT_OR_BLANK.items()
    ),
    *(
        item_case(f"{field} {value!r}", "must be a string", field, value, only_json=True)
        for field in (*REQUIRED_TEXTS, "userId", "errorFingerprint")
        for value in NOT_STRINGS
    ),
    *(
        item_case(f"{field} with NUL", "must not contain NUL characters", field, "a\0b")
        for field in LONGEST
    ),
    item_case("NUL in the query", "must not contain NUL characters", "path", "/a?\0"),
    *(
        item_case(f"{field} too long", f"size must be between 1 and {longest}", field, "x" * (longest + 1))
        for field, longest in LONGEST.items()
    ),
    item_case("path of nothing but a query", "must not be blank", "path", "?a=b"),
    *(
        item_case(f"method {value!r}", "must be a valid HTTP method", "method", value)
        for value in ("GET POST", "GET\n", "GÉT", "GET/", "(GET)", "ſ")
    ),
    *(
        item_case(f"direction {value!r}", 'must match "inbound|outbound"', "direction", value,
                  only_json=not isinstance(value, str))
        for value in ("Inbound", "sideways", "inbound ", *NOT_STRINGS)
    ),
    *(
        item_case(f"{field} {name}", "must not be null", field, value, only_json=value is None)
        for field in ("statusCode", *INTEGERS)
        for name, value in ABSENT.items()
    ),
    *(
        item_case(f"{field} {value!r}", "must be an integer", field, value, only_json=True)
        for field in ("statusCode", *INTEGERS)
        for value in NOT_INTEGERS
    ),
    *(
        item_case(f"{field} {value}", "must be greater than or equal to 0", field, value)
        for field in INTEGERS
        for value in (-1, -(2**63))
    ),
    *(
        item_case(f"{field} {value}", f"must be less than or equal to {MAX_INT64}", field, value, only_json=True)
        for field in INTEGERS
        for value in (2**63, 10**30, 1e300)
    ),
    *(
        item_case(f"statusCode {value}", "must be 0 or between 100 and 599", "statusCode", value)
        for value in (-1, 1, 99, 600, 2**31 - 1)
    ),
    item_case("statusCode huge", "must be 0 or between 100 and 599", "statusCode", 2**63, only_json=True),
    item_case("timestamp left out", "must not be blank", "timestamp", ...),
    *(
        item_case(f"timestamp {value!r}", "must not be blank", "timestamp", value, only_json=True)
        for value in (None, "", "  ")
    ),
    *(
        item_case(f"timestamp {value!r}", "must be a valid ISO-8601 date-time", "timestamp", value, only_json=True)
        for value in NOT_TIMESTAMPS
    ),
    *(
        item_case(f"timestamp {value}", "must be a valid ISO-8601 date-time with Z or an offset", "timestamp", value,
                  only_json=True)
        for value in WITHOUT_OFFSET
    ),
    Case(
        "every violated field of every item is listed",
        {
            "projectId": "x",
            "requests": [make_item(host="", durationMs=-1), make_item(), make_item(statusCode=99, path=" ")],
        },
        {
            "projectId": "must be a valid UUID",
            "requests[0].host": "must not be blank",
            "requests[0].durationMs": "must be greater than or equal to 0",
            "requests[2].path": "must not be blank",
            "requests[2].statusCode": "must be 0 or between 100 and 599",
        },
    ),
    Case(
        "the first 100 violated fields are listed",
        {"requests": [{}] * 20},
        {f"requests[{index}].{field}": message for index in range(10) for field, message in ALL_REQUIRED.items()},
    ),
]  # fmt: skip


@dataclass(frozen=True)
class Accepted:
    """An item to accept: one field's value, and what is stored in the column of another name."""

    name: str
    change: dict[str, Any]
    column: str
    stored: Any
    only_json: bool = False


ACCEPTED = [
    Accepted("method in lower case", {"method": "get"}, "method", "GET"),
    Accepted("method of odd token characters", {"method": "x-!#$%&'*+.^_`|~1"}, "method", "X-!#$%&'*+.^_`|~1"),
    Accepted("path with a query", {"path": "/a/b?token=secret#x"}, "path", "/a/b"),
    Accepted("path with a fragment", {"path": "/a/b#x?y"}, "path", "/a/b"),
    Accepted("path whose query is long", {"path": "/a?" + "x" * 9000}, "path", "/a"),
    *(
        Accepted(f"{field} of the greatest length", {field: "é" * longest if field != "method" else "X" * longest},
                 column, "é" * longest if field != "method" else "X" * longest)
        for (field, longest), column in zip(
            LONGEST.items(), ("trace_id", "method", "host", "path", "user_id", "error_fingerprint"), strict=True
        )
    ),
    Accepted("no response", {"statusCode": 0}, "status_code", 0),
    Accepted("lowest status", {"statusCode": 100}, "status_code", 100),
    Accepted("highest status", {"statusCode": 599}, "status_code", 599),
    Accepted("whole number in decimal form", {"statusCode": 200.0}, "status_code", 200, only_json=True),
    Accepted("whole number in exponent form", {"durationMs": 1e2}, "duration_ms", 100, only_json=True),
    Accepted("nothing sent", {"requestSize": 0}, "request_size", 0),
    Accepted("largest size", {"responseSize": MAX_INT64}, "response_size", MAX_INT64),
    Accepted("user left out", {"userId": ...}, "user_id", None),
    Accepted("user null", {"userId": None}, "user_id", None, only_json=True),
    Accepted("user empty", {"userId": ""}, "user_id", ""),
    Accepted("fingerprint", {"errorFingerprint": "😀 é"}, "error_fingerprint", "😀 é"),
    Accepted("fingerprint null", {"errorFingerprint": None}, "error_fingerprint", None, only_json=True),
    Accepted("unknown field", {"colour": {"deep": [1, None]}}, "host", "payments.stripe.com", only_json=True),
    *(
        Accepted(f"timestamp {text}", {"timestamp": text}, "timestamp", stored)
        for text, stored in {
            "2026-03-31T12:00:00Z": "2026-03-31T12:00:00+00:00",
            "2026-03-31T12:00:00.123456789Z": "2026-03-31T12:00:00.123456+00:00",
            "2026-03-31T12:00:00.9999999Z": "2026-03-31T12:00:00.999999+00:00",
            "2026-03-31T12:00:00.5+02:00": "2026-03-31T10:00:00.500000+00:00",
            "2026-03-31T12:00:00-23:59": "2026-04-01T11:59:00+00:00",
            "1969-12-31T23:59:59.999999Z": "1969-12-31T23:59:59.999999+00:00",
            "0001-01-01T00:00:00Z": "0001-01-01T00:00:00+00:00",
            "9999-12-31T23:59:59.999999Z": "9999-12-31T23:59:59.999999+00:00",
        }.items()
    ),
    *(
        Accepted(f"timestamp {text}", {"timestamp": text}, "timestamp", stored, only_json=True)
        for text, stored in {
            "2026-03-31t12:00:00z": "2026-03-31T12:00:00+00:00",
            "2016-12-31T23:59:60Z": "2017-01-01T00:00:00+00:00",
            "2016-12-31T15:59:60.5-08:00": "2017-01-01T00:00:00.500000+00:00",
            "2026-03-31T12:00:00." + "1" * 50 + "Z": "2026-03-31T12:00:00.111111+00:00",
        }.items()
    ),
]  # fmt: skip
