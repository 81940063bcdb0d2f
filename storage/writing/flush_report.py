"""The writer's report of each COPY that ended."""

from typing import NamedTuple


class FlushReport(NamedTuple):
    """A COPY, from its begin to its commit or its failure."""

    rows: int
    size_bytes: int
    duration_s: float
    is_stored: bool


def ignore_report(report: FlushReport) -> None:
    """Do nothing."""
