"""Made-up telemetry that tells a story: services that call each other, traces, a bad deploy, a slow dependency."""

import random
import zlib
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, TypeVar

_Choice = TypeVar("_Choice")

FINGERPRINTS_OF_AN_ENDPOINT = 2
USERS = 5_000
IDS = 10_000
# How many calls a service makes to answer a request, the first one of a trace and those below it.
_CALLS = ((0, 1, 1, 2, 3), (0, 0, 0, 1), (0,))
_SHARE_OF_OWN_SERVICES = 0.6
_SHARE_OF_BAD_ANSWERS = 0.4
_SHARE_OF_TIMEOUTS = 0.1
_SLOWDOWN = 25
_STATUS_CODES = (200,) * 850 + (201,) * 60 + (204,) * 30 + (304,) * 24 + (404,) * 25 + (401,) * 15 + (422,) * 14
_FAILURES = (500, 500, 502, 503, 504, 0)


class Incident(Enum):
    """What goes wrong at a moment."""

    NONE = 0
    BAD_DEPLOY = 1  # the first service answers many requests with 500
    SLOW_DEPENDENCY = 2  # the first dependency is slow, and sometimes does not answer


class Endpoint(NamedTuple):
    """A method, a path with a `%d` for each id, and how many of these it has."""

    method: str
    path: str
    ids: int


class Service(NamedTuple):
    """A host, and what it can be asked, the most popular first."""

    host: str
    endpoints: Sequence[Endpoint]


class Row(NamedTuple):
    """A request by the names of the contract's fields; the timestamp is in microseconds since 1970-01-01 UTC."""

    trace_id: str
    direction: str
    method: str
    host: str
    path: str
    status_code: int
    duration_ms: int
    request_size: int
    response_size: int
    user_id: str | None
    error_fingerprint: str | None
    timestamp: int


def endpoints_of(nouns: Sequence[str]) -> list[Endpoint]:
    """Return five endpoints for each noun, such as "orders"."""
    return [
        endpoint
        for noun in nouns
        for endpoint in (
            Endpoint("GET", f"/api/{noun}", 0),
            Endpoint("GET", f"/api/{noun}/%d", 1),
            Endpoint("POST", f"/api/{noun}", 0),
            Endpoint("PUT", f"/api/{noun}/%d", 1),
            Endpoint("GET", f"/api/{noun}/%d/history/%d", 2),
        )
    ]


class System:
    """The services of a project, which call each other and dependencies of other people."""

    def __init__(self, services: Sequence[Service], dependencies: Sequence[Service]) -> None:
        self._services = services
        self._dependencies = dependencies
        # Made once: drawing from a distribution takes longer than all else about a row.
        self._durations = [max(1, int(random.Random(number).lognormvariate(3, 1))) for number in range(1024)]  # noqa: S311

    def make_trace(self, end_us: int, source: random.Random, incident: Incident = Incident.NONE) -> list[Row]:
        """Return the rows of a trace that ended at that moment, in the order in which they began."""
        trace = _Trace(source, incident)
        _, duration_ms = self._serve(trace, _pick(self._services, source), 0, 0)
        begin_us = end_us - duration_ms * 1000
        return [row._replace(timestamp=begin_us + row.timestamp) for row in trace.rows]

    def _serve(self, trace: "_Trace", service: Service, begin_ms: int, depth: int) -> tuple[int, int]:
        """Add what a service does to answer a request, and return its status and how long it took."""
        source = trace.source
        endpoint = _pick(service.endpoints, source)
        place = len(trace.rows)
        status = self._status(trace, trace.incident is Incident.BAD_DEPLOY and service is self._services[0])
        duration_ms = self._durations[source.getrandbits(10)]
        for _ in range(source.choice(_CALLS[depth])):
            called_status, called_ms = self._call(trace, begin_ms + duration_ms, depth)
            duration_ms += called_ms
            if called_status >= 500 and status < 400 and source.random() < 0.5:
                status = 502
        trace.add(place, "inbound", service.host, endpoint, status, duration_ms, begin_ms)
        return status, duration_ms

    def _call(self, trace: "_Trace", begin_ms: int, depth: int) -> tuple[int, int]:
        """Add an outbound request and what comes of it."""
        source = trace.source
        place = len(trace.rows)
        if source.random() < _SHARE_OF_OWN_SERVICES:
            called = _pick(self._services, source)
            status, duration_ms = self._serve(trace, called, begin_ms + 1, depth + 1)
            duration_ms += 2
            answered = trace.rows[place]
            trace.rows.insert(place, answered._replace(direction="outbound", duration_ms=duration_ms,
                                                       timestamp=begin_ms * 1000))  # fmt: skip
            return status, duration_ms
        called = _pick(self._dependencies, source)
        status, duration_ms = self._status(trace, is_bad=False), self._durations[source.getrandbits(10)] * 2
        if trace.incident is Incident.SLOW_DEPENDENCY and called is self._dependencies[0]:
            duration_ms = duration_ms * _SLOWDOWN + 500
            if source.random() < _SHARE_OF_TIMEOUTS:
                status = 0
        trace.add(place, "outbound", called.host, _pick(called.endpoints, source), status, duration_ms, begin_ms)
        return status, duration_ms

    @staticmethod
    def _status(trace: "_Trace", is_bad: bool) -> int:
        if is_bad and trace.source.random() < _SHARE_OF_BAD_ANSWERS:
            return 500
        number = trace.source.getrandbits(10)
        return _STATUS_CODES[number] if number < len(_STATUS_CODES) else trace.source.choice(_FAILURES)


class _Trace:
    """A trace that is being made."""

    def __init__(self, source: random.Random, incident: Incident) -> None:
        self.source = source
        self.incident = incident
        self.rows: list[Row] = []
        self._id = f"{source.getrandbits(128):032x}"
        self._user_id = f"usr_{int(USERS * source.random())}" if source.random() < 0.6 else None

    def add(
        self, place: int, direction: str, host: str, endpoint: Endpoint, status: int, duration_ms: int, begin_ms: int
    ) -> None:
        """Put a row before those that came of it."""
        random_ = self.source.random
        method, path, ids = endpoint
        row = Row(
            self._id,
            direction,
            method,
            host,
            path if ids == 0 else path % tuple(int(IDS * random_()) for _ in range(ids)),
            status,
            duration_ms,
            100 + int(9_900 * random_()) if method in ("POST", "PUT") else 0,
            50 + int(50_000 * random_() ** 3) if status not in (0, 204, 304) else 0,
            self._user_id,
            _fingerprint(host, path, int(FINGERPRINTS_OF_AN_ENDPOINT * random_())) if status >= 500 else None,
            begin_ms * 1000,
        )
        self.rows.insert(place, row)


def _pick(choices: "Sequence[_Choice]", source: random.Random) -> "_Choice":
    """Return one of them: of 300, the first is taken in one of seven cases, the last in one of 900."""
    return choices[int(len(choices) * source.random() ** 3)]


def _fingerprint(host: str, path: str, number: int) -> str:
    return f"{zlib.crc32(f'{host}{path}{number}'.encode()):08x}"
