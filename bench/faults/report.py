"""The table of `make faults`."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from bench.faults.clients import BATCH_ROWS, CLIENTS
from bench.faults.record import PROTOCOLS, Outcome
from bench.faults.trial import Result

_HEADINGS = (
    "fault", "batches/s", "acknow-\nledged", "during\nthe fault", "stored", "lost", "doubled", "refused\n(503)",
    "no\nanswer", "first answer\nafter, s", "spool empty\nafter, s", "longest wait, s\nHTTP / gRPC / stream",
)  # fmt: skip


def print_report(results: Sequence[Result]) -> None:
    """Print a row for each fault, and below what should not have happened."""
    console = Console(width=170)
    load = ", ".join(f"{count} {protocol}" for protocol, count in CLIENTS.items())
    table = Table(title=f"Batches of {BATCH_ROWS} rows; clients: {load}", box=box.SIMPLE_HEAD, title_justify="left")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "fault" else "right")
    for result in results:
        table.add_row(*_cells(result))
    console.print(table)
    for result in results:
        for remark in result.remarks:
            console.print(f"{result.fault.name}: {remark}", markup=False, highlight=False, soft_wrap=True)


def _cells(result: Result) -> list[str]:
    record, verdict = result.record, result.verdict
    return [
        result.fault.name,
        f"{record.rate:,.0f}",
        f"{record.outcomes[Outcome.ACKNOWLEDGED]:,}",
        f"{result.acknowledged_during:,}",
        f"{verdict.stored:,}",
        f"{verdict.lost + verdict.torn:,}",
        f"{verdict.doubled:,}",
        f"{record.outcomes[Outcome.REFUSED]:,}",
        f"{record.outcomes[Outcome.UNANSWERED]:,}",
        _seconds(result.acknowledged_after_s),
        _seconds(result.spool_empty_after_s),
        " / ".join(f"{record.longest_wait_s[protocol]:.1f}" for protocol in PROTOCOLS),
    ]


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"
