"""Random requests: few values of each kind, so that filters find some; edges of all numbers."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 3
HOSTS = ["api.example.com", "payments.stripe.com", "db.internal"]
PATHS = ["/orders/{}", "/orders/{}/items", "/Health", "/v1/charges", "/100%_done\\x", "/files/dGhpcyBpcyBhIHRlc3Q{}"]
METHODS = ["GET", "POST", "DELETE"]
STATUSES = [0, 100, 200, 204, 301, 399, 400, 404, 499, 500, 503, 599]
USERS = [None, "usr_1", "usr_2"]
FINGERPRINTS = [None, "timeout", "refused"]
TRACES = [f"{number:032x}" for number in range(1, 8)] + ["trace-a", "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"]
DURATIONS = [0, 1, 2, 999, 1000, 1001, 2**31, 2**40]


def random_item(source: random.Random) -> dict[str, Any]:
    """Return an item of a batch."""
    return {
        "traceId": source.choice(TRACES),
        "direction": source.choice(["inbound", "outbound"]),
        "method": source.choice(METHODS),
        "host": source.choice(HOSTS),
        "path": source.choice(PATHS).format(source.randint(1, 99)),
        "statusCode": source.choice(STATUSES),
        "durationMs": source.choice([source.choice(DURATIONS), source.randint(0, 5_000)]),
        "requestSize": source.choice([0, 2**33, source.randint(0, 10_000)]),
        "responseSize": source.randint(0, 10_000),
        "userId": source.choice(USERS),
        "errorFingerprint": source.choice(FINGERPRINTS),
        "timestamp": random_moment(source).isoformat(),
    }


def random_moment(source: random.Random) -> datetime:
    """Return a moment, often a full hour, so that some rows have the same."""
    hours = timedelta(hours=source.randint(0, 24 * DAYS - 1))
    return BEGIN + hours + source.choice([timedelta(), timedelta(microseconds=source.randint(0, 3_599_999_999))])
