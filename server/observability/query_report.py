"""The report of a query that has ended, on either protocol: it is counted, and may be logged."""

import logging
import time

from server.contract.query_method import QueryMethod
from server.errors import ErrorCode, IngestError
from server.observability.metrics import ABANDONED, ANSWERED, WorkerMetrics
from server.observability.request_report import LEVELS, LineLimit, RequestRecord, log_request


class QueryReporter:
    """Counts and logs queries, on one event loop."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics
        self._limit = LineLimit()

    def report_answered(self, method: QueryMethod, record: RequestRecord) -> None:
        """Report a query that was answered."""
        self._report(method, record, ANSWERED, logging.DEBUG)

    def report_abandoned(self, method: QueryMethod, record: RequestRecord) -> None:
        """Report a query whose client did not wait for the answer."""
        self._report(method, record, ABANDONED, logging.INFO)

    def report_refused(self, method: QueryMethod, record: RequestRecord, error: IngestError) -> None:
        """Report a query that was answered with `error`; its cause, if any, is an unexpected exception."""
        cause = error.__cause__ if error.code is ErrorCode.INTERNAL_ERROR else None
        self._report(method, record, error.code, LEVELS.get(error.code, logging.INFO), cause)

    def _report(
        self,
        method: QueryMethod,
        record: RequestRecord,
        outcome: str,
        level: int,
        cause: BaseException | None = None,
    ) -> None:
        duration_s = time.monotonic() - record.began_at
        self._metrics.count_query(method, outcome, duration_s)
        if logging.getLogger(__name__).isEnabledFor(level) and self._limit.admits(level, (record.project_id, outcome)):
            log_request(level, "query ended", record, outcome, duration_s, cause=cause)
