"""The fields of an item: the one table from which protocols, rules, the OpenAPI document and the sample are made.

A field has one name: its column and its protobuf field are spelled alike (`trace_id`), and JSON has protobuf's mapping
of that (`traceId`). The types of the columns are in storage.writing.http_requests. Tests hold the `.proto` file, the
columns and the migrated database to this table.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from server.contract.rules import Direction, Integer, Method, Path, Rule, StatusCode, Text, Timestamp


class Field(NamedTuple):
    """A field of an item. `lenient_default` stands for an absent value where the contract is lenient."""

    name: str
    rule: Rule
    description: str
    example: object = None
    lenient_default: object = None

    @property
    def json_name(self) -> str:
        """The name in the JSON body and in the paths of violated fields."""
        first, *others = self.name.split("_")
        return first + "".join(map(str.capitalize, others))


FIELDS: Final = (
    Field("trace_id", Text(255), "The trace the request belongs to.", "trace-001"),
    Field("direction", Direction(), "`inbound`: served by the sender. `outbound`: made by the sender.", "outbound"),
    Field("method", Method(32), "HTTP method, a token of RFC 9110; stored in upper case.", "POST"),
    Field("host", Text(255), "Host that served the request.", "payments.stripe.com"),
    Field("path", Path(8192), "Path. A `?` or `#` and what follows is cut off and never stored.", "/v1/charges"),
    Field("status_code", StatusCode(), "Status of the response, 0 when none came.", 200),
    Field("duration_ms", Integer(), "Milliseconds the request took.", 320),
    Field("request_size", Integer(), "Bytes of the request's body.", 256, lenient_default=0),
    Field("response_size", Integer(), "Bytes of the response's body.", 1024, lenient_default=0),
    Field("user_id", Text(255, required=False), "The user on whose behalf the request was made.", "usr_99"),
    Field("error_fingerprint", Text(255, required=False), "Groups equal errors."),
    Field(
        "timestamp",
        Timestamp(),
        "When the request happened: RFC 3339, with `Z` or an offset; stored to the microsecond.",
        "2026-03-31T12:00:00.000Z",
    ),
)

# An item as the JSON body spells it; fields without an example are left out.
EXAMPLE: Final[Mapping[str, Any]] = {field.json_name: field.example for field in FIELDS if field.example is not None}
