"""The filters of a page, as its address and its form have them; the query service says which values are right."""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Field(NamedTuple):
    """A filter in a form; `choices` are its values and what they are called, None for free text."""

    name: str
    label: str
    choices: Mapping[str, str] | None = None
    kind: str = "text"
    hint: str = ""


_DIRECTIONS: Final = {"": "Both", "inbound": "Inbound", "outbound": "Outbound"}
_STATUS_GROUPS: Final = {
    "": "Any",
    "failed": "Failed",
    "2xx": "2xx",
    "3xx": "3xx",
    "4xx": "4xx",
    "5xx": "5xx",
    "0": "No response",
}
FIELDS: Final = (
    Field("direction", "Direction", _DIRECTIONS),
    Field("statusGroup", "Status", _STATUS_GROUPS),
    Field("method", "Method", hint="GET"),
    Field("host", "Host", hint="api.example.com"),
    Field("path", "Path contains", hint="/orders/42"),
    Field("endpoint", "Endpoint", hint="/orders/{id}"),
    Field("userId", "User"),
    Field("minDurationMs", "At least, ms", kind="number", hint="500"),
    Field("errorFingerprint", "Error fingerprint"),
    Field("status", "Exact status", kind="number", hint="503"),
)
NAMES: Final = tuple(field.name for field in FIELDS)
LIVE_FIELDS: Final = tuple(field for field in FIELDS if field.name not in ("endpoint", "errorFingerprint", "status"))


def filters_of(given: Mapping[str, str]) -> dict[str, str]:
    """Return the filters among the parameters of a page; empty fields of its form are none."""
    return {name: value for name in NAMES if (value := given.get(name, "").strip())}
