"""The report of a request that has ended, on either protocol: it is counted, and may be logged."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from server.errors import ErrorCode, IngestError
from server.observability.log import event_fields
from server.observability.metrics import ABANDONED, ACCEPTED, REFUSABLE_FIELDS, STOPPED, Protocol, WorkerMetrics

LEVELS = {ErrorCode.INTERNAL_ERROR: logging.ERROR, ErrorCode.SERVICE_UNAVAILABLE: logging.WARNING}
_REFUSABLE_FIELDS = frozenset(REFUSABLE_FIELDS)

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class RequestRecord:
    """What is known of a request, or of a batch of a stream; `target` is what it asked for, as fields of a line."""

    protocol: Protocol
    request_id: str
    target: Mapping[str, str]
    project_id: UUID | None = None
    began_at: float = field(default_factory=time.monotonic)


class RequestReporter:
    """Counts and logs requests, on one event loop."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics
        self._limit = LineLimit()

    def report_accepted(self, record: RequestRecord, rows: int) -> None:
        """Report a request whose rows were acknowledged."""
        duration_s = self._count(record, ACCEPTED)
        self._metrics.count_rows(record.protocol, rows)
        if _logger.isEnabledFor(logging.DEBUG):
            status: object = 202 if record.protocol is Protocol.HTTP else "OK"
            log_request(logging.DEBUG, "request accepted", record, ACCEPTED, duration_s, status=status, rows=rows)

    def report_refused(self, record: RequestRecord, error: IngestError) -> None:
        """Report a request that was answered with `error`; its cause, if any, is an unexpected exception."""
        duration_s = self._count(record, error.code)
        # The position of broken JSON is in details, too, but it is not a field.
        wrong = _fields_in(error.details) if error.code is ErrorCode.VALIDATION_ERROR else set()
        self._metrics.count_refused(wrong)
        level = LEVELS.get(error.code, logging.INFO)
        if _logger.isEnabledFor(level) and self._limit.admits(level, (record.project_id, error.code)):
            outcome = error.outcome
            status = outcome.http_status if record.protocol is Protocol.HTTP else outcome.grpc_status.name
            cause = error.__cause__ if error.code is ErrorCode.INTERNAL_ERROR else None
            log_request(
                level, "request refused", record, error.code, duration_s,
                status=status, rows=0, wrong_fields=" ".join(sorted(wrong)) or None, cause=cause,
            )  # fmt: skip

    def report_abandoned(self, record: RequestRecord) -> None:
        """Report a request whose client did not wait for the answer."""
        duration_s = self._count(record, ABANDONED)
        if _logger.isEnabledFor(logging.INFO) and self._limit.admits(logging.INFO, (record.project_id, ABANDONED)):
            log_request(logging.INFO, "request abandoned", record, ABANDONED, duration_s, status="CANCELLED", rows=0)

    def report_stopped(self, record: RequestRecord) -> None:
        """Report a stream that ends because its worker stops."""
        self._count(record, STOPPED)

    def report_failed_handshake(self, protocol: Protocol, reason: str) -> None:
        """Report a failed TLS handshake, with OpenSSL's reason."""
        self._metrics.count_failed_handshake(protocol)
        if _logger.isEnabledFor(logging.INFO) and self._limit.admits(logging.INFO, reason):
            _logger.info("TLS handshake failed", extra=event_fields(protocol=protocol, reason=reason))

    def _count(self, record: RequestRecord, outcome: str) -> float:
        duration_s = time.monotonic() - record.began_at
        self._metrics.count_request(record.protocol, outcome, duration_s)
        return duration_s


class LineLimit:
    """Limits lines a second, in all and of each kind, and then says how many were left out.

    Clients may be refused thousands of times a second, and writing to the log blocks the event loop.
    """

    LINES_PER_SECOND = 100
    LINES_OF_A_KIND_PER_SECOND = 10

    def __init__(self) -> None:
        self._seen: Counter[object] = Counter()
        self._admitted = 0
        self._level_left_out = logging.NOTSET

    def admits(self, level: int, kind: object) -> bool:
        """Tell whether a line may be written now; lines of the same kind say much the same."""
        if not self._seen:
            asyncio.get_running_loop().call_later(1.0, self._end_second)
        self._seen[kind] += 1
        if self._seen[kind] > self.LINES_OF_A_KIND_PER_SECOND or self._admitted >= self.LINES_PER_SECOND:
            self._level_left_out = max(self._level_left_out, level)
            return False
        self._admitted += 1
        return True

    def _end_second(self) -> None:
        left_out = self._seen.total() - self._admitted
        if left_out:
            extra = event_fields(left_out=left_out)
            _logger.log(self._level_left_out, "too many requests in a second to log each", extra=extra)
        self._seen.clear()
        self._admitted = 0
        self._level_left_out = logging.NOTSET


def _fields_in(details: Iterable[str]) -> set[str]:
    """Return which fields of the contract are named by field paths: `requests[3].host` is `host`."""
    names = {path.rpartition(".")[2].partition("[")[0] for path in details}
    return names & _REFUSABLE_FIELDS


def log_request(
    level: int,
    message: str,
    record: RequestRecord,
    outcome: str,
    duration_s: float,
    *,
    cause: BaseException | None = None,
    **fields: object,
) -> None:
    """Write the line of a request that has ended."""
    extra = event_fields(
        request_id=record.request_id, project_id=record.project_id, protocol=record.protocol, **record.target,
        outcome=outcome, **fields, duration_ms=round(duration_s * 1000, 3),
    )  # fmt: skip
    _logger.log(level, message, exc_info=cause, extra=extra)
