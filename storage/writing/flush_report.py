"""The writer's report of each COPY that ended."""

from collections.abc import Sequence
from typing import NamedTuple

from storage.writing.submission import Submission


class FlushReport(NamedTuple):
    """A COPY, from its begin to its commit or its failure."""

    rows: int
    size_bytes: int
    duration_s: float
    is_stored: bool
    transaction_id: int
    submissions: Sequence[Submission]


def ignore_report(report: FlushReport) -> None:
    """Do nothing."""
