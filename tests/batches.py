"""Batches for tests: the user's own example, and small valid ones to break in one place."""

import copy
from typing import Any
from uuid import uuid4

EXAMPLE_ITEMS: list[dict[str, Any]] = [
    {
        "traceId": "trace-001",
        "direction": "outbound",
        "method": "POST",
        "host": "payments.stripe.com",
        "path": "/v1/charges",
        "statusCode": 200,
        "durationMs": 320,
        "requestSize": 256,
        "responseSize": 1024,
        "userId": "usr_99",
        "timestamp": "2026-03-31T12:00:00.000Z",
    },
    {
        "traceId": "trace-002",
        "direction": "inbound",
        "method": "GET",
        "host": "api.myapp.com",
        "path": "/api/orders",
        "statusCode": 401,
        "durationMs": 8,
        "requestSize": 0,
        "responseSize": 64,
        "timestamp": "2026-03-31T12:00:01.000Z",
    },
]


def make_item(**changes: Any) -> dict[str, Any]:
    """Return a valid item with a trace id of its own; a change to `...` removes the field."""
    item = copy.deepcopy(EXAMPLE_ITEMS[0]) | {"traceId": f"trace-{uuid4().hex}"} | changes
    return {name: value for name, value in item.items() if value is not ...}


def make_batch(project_id: str, count: int = 1, **changes: Any) -> dict[str, Any]:
    """Return a valid batch of `count` items that all have the same changes."""
    return {"projectId": project_id, "requests": [make_item(**changes) for _ in range(count)]}
