"""`python -m bench.faults.soak`: steady load with now and then an outage; does anything grow?"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from bench.faults.record import Outcome, Record
from bench.faults.resources import Sample, Trend, find_trends, take_sample
from bench.faults.stand import Stand, set_up
from bench.faults.trial import Verdict, await_recovery, judge, stop_calmly

OUTAGES = 8
LONGEST_OUTAGE_S = 10.0
SAMPLE_INTERVAL_S = 3.0


@click.command()
@click.option("--minutes", type=float, default=15.0, show_default=True, help="how long to send for")
def main(minutes: float) -> None:
    """Send over both protocols, stop Postgres eight times on the way, and compare the first quarter with the last.

    The exit code is 1 when memory, descriptors, threads or connections grew by more than is allowed, or when a batch
    was lost or doubled.
    """
    with tempfile.TemporaryDirectory(prefix="seestack-soak-") as folder, set_up(Path(folder)) as stand:
        samples = sample_with_outages(stand, minutes * 60)
        await_recovery(stand, time.monotonic())
        record = stand.load.stop()
        remarks = stop_calmly(stand)
        verdict = judge(stand.postgres.url, record)
    trends = find_trends(samples)
    print_report(trends, record, verdict, remarks)
    is_flat = all(trend.is_flat for trend in trends)
    sys.exit(not is_flat or bool(remarks) or verdict.has_failed)


def sample_with_outages(stand: Stand, seconds: float) -> list[Sample]:
    """Return samples of `seconds`, an outage at the end of each eighth of them."""
    period_s = seconds / OUTAGES
    outage_s = min(LONGEST_OUTAGE_S, period_s / 2)
    samples = []
    for _ in range(OUTAGES):
        samples += _sample(stand, period_s - outage_s)
        stand.postgres.stop()
        samples += _sample(stand, outage_s)
        stand.postgres.start()
    return samples


def print_report(trends: Sequence[Trend], record: Record, verdict: Verdict, remarks: Sequence[str]) -> None:
    """Print the table, and what became of the batches."""
    console = Console(width=120)
    table = Table(title=f"{record.rate:,.0f} batches/s, {OUTAGES} outages", box=box.SIMPLE_HEAD, title_justify="left")
    for heading in ("", "median of", "first quarter", "last quarter", "allowed", ""):
        table.add_column(heading, justify="left" if heading in ("", "median of") else "right")
    for trend in trends:
        numbers = (f"{number:,.1f}" for number in (trend.first, trend.last, trend.most))
        table.add_row(trend.who, trend.what, *numbers, "flat" if trend.is_flat else "GREW")
    console.print(table)
    console.print(
        f"{record.outcomes[Outcome.ACKNOWLEDGED]:,} batches acknowledged, {verdict.stored:,} stored, "
        f"{verdict.lost + verdict.torn:,} lost, {verdict.doubled:,} doubled, "
        f"{record.outcomes[Outcome.REFUSED]:,} refused, {record.outcomes[Outcome.UNANSWERED]:,} not answered"
    )
    for remark in (*remarks, *record.wrong_answers):
        console.print(remark, markup=False, highlight=False, soft_wrap=True)


def _sample(stand: Stand, seconds: float) -> list[Sample]:
    end = time.monotonic() + seconds
    samples = []
    while (left := end - time.monotonic()) > 0:
        samples.append(take_sample(stand))
        time.sleep(min(left, SAMPLE_INTERVAL_S))
    return samples


if __name__ == "__main__":
    main()
