"""One fault, from the first batch of the load to the comparison of what was acknowledged with what is stored."""

import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from bench.faults.clients import BATCH_ROWS
from bench.faults.disk import FaultUnavailableError
from bench.faults.injections import Fault, Length
from bench.faults.postgres import POLL_INTERVAL_S
from bench.faults.record import Record
from bench.faults.rollups import differences
from bench.faults.stand import Stand, set_up

BEFORE_S = 3.0  # of undisturbed load, before a fault and, at least, after it
RECOVERED_WITHIN_S = 30.0
SPOOL_EMPTY_WITHIN_S = 10.0  # of the last batch

_STORED = "SELECT trace_id, count(*) FROM http_requests GROUP BY trace_id"


@dataclass(frozen=True)
class Verdict:
    """What is stored of a load. All are numbers of batches."""

    stored: int
    lost: int  # acknowledged, and not stored whole
    doubled: int  # stored more than once
    torn: int  # not acknowledged, and stored in part

    @property
    def has_failed(self) -> bool:
        """Tell whether any batch is not stored as it should be."""
        return bool(self.lost or self.doubled or self.torn)


@dataclass
class Result:
    """What a fault did. Times are in seconds; None where it did not come to that."""

    fault: Fault
    record: Record
    verdict: Verdict
    acknowledged_during: int
    acknowledged_after_s: float | None
    spool_empty_after_s: float | None
    remarks: list[str] = field(default_factory=list)

    @property
    def has_failed(self) -> bool:
        """Tell whether something happened that must not."""
        return self.verdict.has_failed or bool(self.remarks)

    @property
    def summary(self) -> str:
        """What became of the batches, in a few words."""
        verdict = self.verdict
        return f"{verdict.stored} stored, {verdict.lost + verdict.torn} lost, {verdict.doubled} doubled"


def try_fault(fault: Fault, length: Length) -> Result:
    """Inject a fault into a new stand under load. Raises FaultUnavailableError when this system cannot have the fault.

    The logs are kept when something went wrong.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"seestack-{fault.name}-"))
    try:
        with set_up(folder, *fault.flags, disk=fault.disk) as stand:
            result = _inject(stand, fault, length)
    except (FaultUnavailableError, KeyboardInterrupt):
        shutil.rmtree(folder)
        raise
    if result.has_failed:
        result.remarks.append(f"the logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return result


def judge(database_url: str, record: Record) -> Verdict:
    """Compare what was acknowledged with what is stored."""
    with psycopg.connect(database_url) as connection:
        rows: dict[str, int] = dict(connection.execute(_STORED).fetchall())
    acknowledged = record.all_acknowledged
    return Verdict(
        stored=len(rows),
        lost=sum(rows.get(trace, 0) < BATCH_ROWS for trace in acknowledged),
        doubled=sum(count > BATCH_ROWS for count in rows.values()),
        torn=sum(count < BATCH_ROWS for trace, count in rows.items() if trace not in acknowledged),
    )


def _inject(stand: Stand, fault: Fault, length: Length) -> Result:
    time.sleep(BEFORE_S)
    began_at = time.monotonic()
    ended_at = fault.inject(stand, length)
    emptied_at = await_recovery(stand, ended_at)
    record = stand.load.stop()
    remarks = [f"{count} x {answer}" for answer, count in record.wrong_answers.items()]
    first = record.first_acknowledged_after(ended_at)
    if first is None:
        remarks.append(f"not every protocol was acknowledged again within {RECOVERED_WITHIN_S:g} s")
    remarks += stop_calmly(stand)
    remarks += differences(stand.postgres.url)
    return Result(
        fault,
        record,
        judge(stand.postgres.url, record),
        acknowledged_during=record.acknowledged_between(began_at, ended_at),
        acknowledged_after_s=None if first is None else first - ended_at,
        spool_empty_after_s=None if emptied_at is None else emptied_at - ended_at,
        remarks=remarks,
    )


def await_recovery(stand: Stand, ended_at: float) -> float | None:
    """Wait until every protocol is acknowledged and the spool empty again; return when it first was, if it was."""
    emptied_at = None
    while (now := time.monotonic()) < ended_at + RECOVERED_WITHIN_S:
        if emptied_at is None and stand.server.is_spool_empty():
            emptied_at = time.monotonic()
        if emptied_at is not None and stand.load.is_acknowledged_since(ended_at) and now > ended_at + BEFORE_S:
            break
        time.sleep(POLL_INTERVAL_S)
    return emptied_at


def stop_calmly(stand: Stand) -> list[str]:
    """Stop the server once its spool is empty, and return what was not as it should be."""
    deadline = time.monotonic() + SPOOL_EMPTY_WITHIN_S
    while not stand.server.is_spool_empty() and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL_S)
    remarks = []
    if code := stand.server.stop():
        remarks.append(f"the server ended with {code}")
    if not stand.server.is_spool_empty():
        remarks.append(f"the spool is not empty: {stand.server.spool_status()}")
    return remarks
