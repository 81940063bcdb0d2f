"""The parameters of queries: the one table for both protocols, for what is told of wrong ones, and for OpenAPI.

On gRPC a parameter is the field of the request whose JSON name it has. A test holds the .proto file to this table.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final, NamedTuple
from uuid import UUID

from server.contract.query_method import QueryMethod
from server.contract.rules import Violation
from server.contract.validation import MAX_DETAILS
from server.errors import ValidationFailedError
from server.query.rules import Endpoint, MethodName, Moment, Number, OneOf, ParameterRule, Status, Step, Uuid, Words
from server.query.tails import MOST_WAITING
from storage.reading.filters import FAILED, SLOW_MS, STATUS_GROUPS, Filter
from storage.reading.rows import MOST_COUNTED

DEFAULT_RANGE = timedelta(days=1)


class Parameter(NamedTuple):
    """A parameter of queries. `name` is that in Python, `default` what stands for an absent one."""

    name: str
    rule: ParameterRule
    description: str
    default: Any = None
    is_required: bool = False

    @property
    def json_name(self) -> str:
        """The name that clients know."""
        first, *others = self.name.split("_")
        return first + "".join(map(str.capitalize, others))


_PROJECT = Parameter("project_id", Uuid(), "The project; it must be that of the key, which is taken when it is absent.")
_SLOW = Parameter("slow_ms", Number(), "Milliseconds above which a request is slow.", SLOW_MS)
_RANGE: Final = (
    Parameter("from", Moment(), "Begin of the range, which is part of it; a day before `to` when it is absent."),
    Parameter("to", Moment(), "End of the range, which is not part of it; now when it is absent."),
)
FILTERS: Final = (
    Parameter("direction", OneOf("inbound", "outbound"), "`inbound`: served. `outbound`: made."),
    Parameter("method", MethodName(), "HTTP method."),
    Parameter(
        "status_group",
        OneOf(*STATUS_GROUPS, FAILED),
        "Class of the status; `0` where no response came; `failed` for `0`, `4xx` and `5xx` together.",
    ),
    Parameter("status", Status(), "Exact status; 0 where no response came."),
    Parameter("host", Words(255), "Exact host."),
    Parameter("path", Words(8192), "Part of the path, in any case."),
    Parameter("endpoint", Endpoint(), "Path with placeholders, such as `/orders/{id}`."),
    Parameter("user_id", Words(255), "Exact user."),
    Parameter("error_fingerprint", Words(255), "Exact fingerprint."),
    Parameter("min_duration_ms", Number(), "Least duration in milliseconds."),
    _SLOW,
)
_COMMON: Final = (_PROJECT, *_RANGE, *FILTERS)
_TOP: Final = (
    Parameter(
        "sort",
        OneOf("failed", "requests", "time", "slowest"),
        "Order of the groups, largest first; `time` is the sum of durations, `slowest` their mean.",
        "failed",
    ),
    Parameter("limit", Number(1, 100), "Most groups.", 20),
)
PARAMETERS: Final[Mapping[QueryMethod, Sequence[Parameter]]] = {
    QueryMethod.LIST: (
        *_COMMON,
        Parameter("page", Number(1), "Page from 1; not with `cursor`."),
        Parameter("per_page", Number(1, 200), "Items of a page.", 50),
        Parameter("most_counted", Number(0, MOST_COUNTED), "Where counting for `total` stops.", MOST_COUNTED),
        Parameter("cursor", Words(200), "`nextCursor` of the page before; stable while rows arrive."),
    ),
    QueryMethod.STATS: _COMMON,
    QueryMethod.TIME_SERIES: (*_COMMON, Parameter("step", Step(), "Seconds of a step, or `auto`; at most 300 steps.")),
    QueryMethod.DISTRIBUTION: _COMMON,
    QueryMethod.TOP_HOSTS: (*_COMMON, *_TOP),
    QueryMethod.TOP_ENDPOINTS: (*_COMMON, *_TOP),
    QueryMethod.TRACE: (
        _PROJECT,
        Parameter("trace_id", Words(255), "The trace.", is_required=True),
        Parameter(
            "from", Moment(), "Only requests from here on; a range of some days is searched faster than all time."
        ),
        Parameter("to", Moment(), "Only requests before."),
        _SLOW,
    ),
    QueryMethod.EXPORT: (
        *_COMMON,
        Parameter("format", OneOf("csv", "jsonl", "parquet"), "Kind of file.", is_required=True),
    ),
    QueryMethod.TAIL: (
        _PROJECT,
        *FILTERS,
        Parameter("limit", Number(1, MOST_WAITING), "Most requests that wait for a slow client.", MOST_WAITING),
    ),
}
_BY_NAME: Final = {
    method: {parameter.json_name: parameter for parameter in parameters} for method, parameters in PARAMETERS.items()
}
_FILTERED_BY: Final = frozenset(Filter.__dataclass_fields__) - {"project", "start", "end"}


class Arguments:
    """The values of a query's parameters, by their names in Python."""

    def __init__(self, values: Mapping[str, Any], now: datetime) -> None:
        """`now` is the end of a range without one. Raises ValidationFailedError for a range that ends too soon."""
        self._values = values
        self.end: datetime = values.get("to") or now
        self.start: datetime = values.get("from") or _day_before(self.end)
        if self.start >= self.end:
            raise ValidationFailedError({"from": "must be before `to`"})

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    @property
    def project_id(self) -> UUID | None:
        """The project that was asked for, None for that of the key."""
        project_id: UUID | None = self._values["project_id"]
        return project_id

    def all(self) -> tuple[tuple[str, Hashable], ...]:
        """Return all values, the range among them, so that equal questions have equal ones."""
        return (*sorted(self._values.items()), ("start", self.start), ("end", self.end))

    def filter(self, project: int, **defaults: str) -> Filter:
        """Return which rows of the project of that number are meant; `defaults` are for what was left out."""
        given = {name: self._values[name] for name in _FILTERED_BY if self._values.get(name) is not None}
        return Filter(project, self.start, self.end, **{**defaults, **given})


def parse_parameters(method: QueryMethod, given: Iterable[tuple[str, str]], now: datetime | None = None) -> Arguments:
    """Return the values of parameters that came as text, by the names that clients know.

    Raises ValidationFailedError, which names every wrong one.
    """
    known = _BY_NAME[method]
    values: dict[str, Any] = {parameter.name: parameter.default for parameter in known.values()}
    missing = {name for name, parameter in known.items() if parameter.is_required}
    details: dict[str, str] = {}
    seen: set[str] = set()
    for name, text in given:
        if name not in known:
            details[name[:100]] = "is not a parameter"
        elif name in seen:
            details[name] = "must be given once"
        else:
            value = known[name].rule.parse(text)
            if isinstance(value, Violation):
                details[name] = value.message
            else:
                values[known[name].name] = value
        seen.add(name)
    details |= dict.fromkeys(missing - seen, "must not be blank")
    if details:
        raise ValidationFailedError(dict(islice(details.items(), MAX_DETAILS)))
    return Arguments(values, now or datetime.now(UTC))


def _day_before(moment: datetime) -> datetime:
    earliest = datetime.min.replace(tzinfo=UTC)
    return moment - DEFAULT_RANGE if moment - earliest > DEFAULT_RANGE else earliest
