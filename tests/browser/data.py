"""What the server of the browser tests holds: ordinary traffic, and telemetry that tries to be more than text."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from tests.batches import make_item

ROWS = 400
HOURS = 20
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACE_ROWS = 6

SCRIPT = "<script>document.title='taken'</script>"
ATTRIBUTE = "\"'><img src=x onerror=\"document.title='taken'\">"
RIGHT_TO_LEFT = "/invoice\u202egnp.exe"
LONG_PATH = "/" + "long" * 2047  # with the slash, 8,189 characters
TEMPLATE = "/{{ 7 * 7 }}{% raw %}"
FORMULA = '=HYPERLINK("http://example.com")'
HOSTILE_PATHS = (f"/{SCRIPT}", f"/{ATTRIBUTE}", RIGHT_TO_LEFT, LONG_PATH, TEMPLATE, "/javascript:alert(1)")


def ordinary_items() -> list[dict[str, Any]]:
    """Return requests of the last hours, some of which failed, and those of one trace."""
    now = datetime.now(UTC)
    items = []
    for number in range(ROWS):
        items.append(
            make_item(
                traceId=uuid4().hex,
                direction=("inbound", "outbound")[number % 2],
                method=("GET", "POST", "DELETE")[number % 3],
                host=("api.example.com", "payments.example.com", "search.example.com")[number % 3],
                path=f"/v1/orders/{number}" if number % 2 else "/v1/search",
                statusCode=(200, 200, 200, 201, 404, 503, 0)[number % 7],
                durationMs=20 + number * 7 % 1500,
                userId=f"usr_{number % 9}",
                timestamp=_text(now - timedelta(hours=HOURS) * number / ROWS),
            )
        )
    begin = now - timedelta(minutes=2)
    for number in range(TRACE_ROWS):
        at = begin + timedelta(milliseconds=120 * number)
        items.append(make_item(traceId=TRACE, path=f"/step/{number}", durationMs=100, timestamp=_text(at)))
    return items


def hostile_items() -> list[dict[str, Any]]:
    """Return requests whose every text tries something."""
    now = _text(datetime.now(UTC) - timedelta(minutes=1))
    return [
        make_item(
            traceId=SCRIPT,
            host=ATTRIBUTE,
            path=path,
            userId=FORMULA,
            errorFingerprint=SCRIPT,
            statusCode=500,
            timestamp=now,
        )
        for path in HOSTILE_PATHS
    ]


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
