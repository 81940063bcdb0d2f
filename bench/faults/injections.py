"""The faults: each brings one about, ends it, and returns when it ended, by the monotonic clock."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import psutil
import psycopg
from psycopg import sql

from bench.faults import disk
from bench.faults.postgres import wait_until
from bench.faults.spool_injections import fail_spool_writes, upgrade_with_full_spool
from bench.faults.stand import DATABASE, SPOOL, Stand
from storage.partitions import DAYS_AHEAD, partition_name
from storage.spool.spool import Spool

RESTART_INTERVAL_S = 3.0
BACKEND_INTERVAL_S = 0.1
WORKER_INTERVAL_S = 1.0
LONGEST_LIFE_S = 1.5  # of a server under load that is killed
DRAIN_OUTAGE_S = 2.0  # in which the spool is filled
LONGEST_DRAIN_S = 0.2
LOCK_S = 10.0
SPOOL_CHANGES_WITHIN_S = 10.0
SPOOL_INTERVAL_S = 0.001
SPOOL_DISK_LEFT_BYTES = 2 * 2**20

_OURS = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'seestack-ingest%'"
_END_OURS = f"SELECT pg_terminate_backend(pid) FROM ({_OURS}) AS ours"
_END_ONE = f"SELECT pg_terminate_backend(pid) FROM ({_OURS} ORDER BY random() LIMIT 1) AS one"
_READ_ONLY = "ALTER SYSTEM SET default_transaction_read_only = on"
_READ_WRITE = "ALTER SYSTEM RESET default_transaction_read_only"
_RELOAD = "SELECT pg_reload_conf()"
_LOCK = "LOCK TABLE http_request_rows IN ACCESS EXCLUSIVE MODE"
_LOCK_AS_PG_DUMP = (
    "LOCK TABLE http_request_rows, idempotency_keys, api_keys, projects, schema_migrations IN ACCESS SHARE MODE"
)
_EXISTS = "SELECT to_regclass(%s) IS NOT NULL"


@dataclass(frozen=True)
class Length:
    """How long a fault lasts: `seconds`, or for one that is repeated, `rounds` if given."""

    seconds: float
    rounds: int | None = None

    def repeat(self) -> Iterator[None]:
        """Yield once for each repetition, at least once."""
        end, count = time.monotonic() + self.seconds, 0
        while count == 0 or (count < self.rounds if self.rounds is not None else time.monotonic() < end):
            yield
            count += 1


@dataclass(frozen=True)
class Fault:
    """A fault, and what of the stand is made differently for it."""

    name: str
    what: str
    inject: Callable[[Stand, Length], float]
    flags: Sequence[str] = ()
    disk: str | None = None


def _stop_postgres(stand: Stand, length: Length) -> float:
    stand.postgres.stop()
    time.sleep(length.seconds)
    stand.postgres.start()
    return time.monotonic()


def _kill_postgres(stand: Stand, length: Length) -> float:
    stand.postgres.kill()
    time.sleep(length.seconds)
    stand.postgres.start()
    return time.monotonic()


def _restart_postgres(stand: Stand, length: Length) -> float:
    for _ in length.repeat():
        stand.postgres.stop()
        stand.postgres.start()
        ended_at = time.monotonic()
        time.sleep(RESTART_INTERVAL_S)
    return ended_at


def _hang_postgres(stand: Stand, length: Length) -> float:
    stand.postgres.suspend()
    time.sleep(length.seconds)
    stand.postgres.resume()
    return time.monotonic()


def _take_connections(stand: Stand, length: Length) -> float:
    with ExitStack() as others:
        first = others.enter_context(stand.postgres.connect())
        while first.execute(_OURS).fetchone() is not None:
            first.execute(_END_OURS)
            with suppress(psycopg.OperationalError):
                while True:
                    others.enter_context(stand.postgres.connect())
        time.sleep(length.seconds)
    return time.monotonic()


def _make_read_only(stand: Stand, length: Length) -> float:
    with stand.postgres.connect() as connection:
        connection.execute(_READ_ONLY)
        connection.execute(_RELOAD)
        time.sleep(length.seconds)
        connection.execute(_READ_WRITE)
        connection.execute(_RELOAD)
    return time.monotonic()


def _fill_database_disk(stand: Stand, length: Length) -> float:
    disk.fill(stand.database_folder)
    time.sleep(length.seconds)
    disk.empty(stand.database_folder)
    # It may have given up.
    stand.postgres.start()
    return time.monotonic()


def _fill_spool_disk(stand: Stand, length: Length) -> float:
    ended_at = _fill_spool_disk_for_good(stand, length)
    disk.empty(stand.spool_folder)
    return ended_at


def _fill_spool_disk_for_good(stand: Stand, length: Length) -> float:
    disk.fill(stand.spool_folder, left_bytes=SPOOL_DISK_LEFT_BYTES)
    stand.postgres.stop()
    time.sleep(length.seconds)
    stand.postgres.start()
    return time.monotonic()


def _lock_table(stand: Stand, length: Length) -> float:
    with stand.postgres.connect() as connection, connection.transaction():
        connection.execute(_LOCK)
        time.sleep(max(length.seconds, LOCK_S))
    return time.monotonic()


def _back_up(stand: Stand, length: Length) -> float:
    due = partition_name(datetime.now(UTC).date() + timedelta(days=DAYS_AHEAD))
    with stand.postgres.connect() as connection:
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(due)))
        with connection.transaction():
            connection.execute(_LOCK_AS_PG_DUMP)
            stand.server.kill()
            stand.server.start()
            time.sleep(length.seconds)
        ended_at = time.monotonic()
        wait_until(lambda: connection.execute(_EXISTS, (due,)).fetchone() == (True,), "the partition is made")
    return ended_at


def _kill_backends(stand: Stand, length: Length) -> float:
    with stand.postgres.connect() as connection:
        for _ in length.repeat():
            connection.execute(_END_ONE)
            time.sleep(random.uniform(0, 2 * BACKEND_INTERVAL_S))
    return time.monotonic()


def _kill_workers(stand: Stand, length: Length) -> float:
    for _ in length.repeat():
        _kill(stand.server.workers())
        ended_at = time.monotonic()
        time.sleep(random.uniform(0, 2 * WORKER_INTERVAL_S))
    return ended_at


def _kill_server(stand: Stand, length: Length) -> float:
    for _ in length.repeat():
        time.sleep(random.uniform(0, LONGEST_LIFE_S))
        stand.server.kill()
        ended_at = time.monotonic()
        stand.server.start()
    return ended_at


def _kill_anything(stand: Stand, length: Length) -> float:
    for _ in length.repeat():
        time.sleep(random.uniform(0, LONGEST_LIFE_S))
        victim = random.choice(("a process of the server", "the server", "a backend", "Postgres"))
        if victim == "the server":
            stand.server.kill()
            stand.server.start()
        elif victim == "Postgres":
            stand.postgres.kill()
            stand.postgres.start()
        elif victim == "a backend":  # Postgres ends all others then, and recovers
            _kill(stand.postgres.processes()[1:])
        else:
            _kill(stand.server.workers())
        ended_at = time.monotonic()
    return ended_at


def _kill(processes: list[psutil.Process]) -> None:
    """Kill one of them, unless it is gone by now."""
    with suppress(psutil.NoSuchProcess, IndexError):
        random.choice(processes).kill()


def _kill_server_in_outage(stand: Stand, length: Length) -> float:
    for _ in length.repeat():
        stand.postgres.stop()
        _wait_for_batches(stand)
        time.sleep(random.uniform(0, LONGEST_LIFE_S))
        stand.server.kill()
        stand.postgres.start()
        ended_at = time.monotonic()
        stand.server.start()
        time.sleep(random.uniform(0, LONGEST_LIFE_S))
    return ended_at


def _kill_server_in_drain(stand: Stand, length: Length) -> float:
    for _ in length.repeat():
        stand.postgres.stop()
        _wait_for_batches(stand)
        time.sleep(DRAIN_OUTAGE_S)
        stand.postgres.start()
        _wait_for_drain(stand)
        time.sleep(random.uniform(0, LONGEST_DRAIN_S))
        stand.server.kill()
        ended_at = time.monotonic()
        stand.server.start()
    return ended_at


def _wait_for_batches(stand: Stand) -> None:
    """Wait until something is in the spool."""
    next((count for count in _watch_spool(stand) if count > 0), None)


def _wait_for_drain(stand: Stand) -> None:
    """Wait until the spool begins to shrink."""
    next((now for before, now in pairwise(_watch_spool(stand)) if now < before), None)


def _watch_spool(stand: Stand) -> Iterator[int]:
    """Yield the number of batches in the spool time and again, but not for ever."""
    deadline = time.monotonic() + SPOOL_CHANGES_WITHIN_S
    with closing(Spool(stand.spool_folder, max_bytes=0)) as spool:
        while time.monotonic() < deadline:
            yield spool.status().batches
            time.sleep(SPOOL_INTERVAL_S)


FAULTS = (
    Fault("stop-postgres", "Postgres is stopped (fast), and started again", _stop_postgres),
    Fault("spool-off", "the same with --spool off", _stop_postgres, flags=("--spool", "off")),
    Fault("kill-postgres", "every process of Postgres is killed (-9)", _kill_postgres),
    Fault("restart-postgres", "Postgres is restarted every 3 s", _restart_postgres),
    Fault("hang-postgres", "every process of Postgres hangs (SIGSTOP)", _hang_postgres),
    Fault("take-connections", "other clients hold all of max_connections", _take_connections),
    Fault("read-only", "transactions are read-only by default", _make_read_only),
    Fault("full-disk", "the disk of Postgres is full", _fill_database_disk, disk=DATABASE),
    Fault("full-spool-disk", "Postgres is stopped, the disk of the spool full", _fill_spool_disk, disk=SPOOL),
    Fault("spool-disk-stays-full", "the same, and only the spool can make room", _fill_spool_disk_for_good, disk=SPOOL),
    Fault(
        "spool-io-errors",
        "Postgres is stopped, and writing to the spool fails (EFBIG), on when Postgres is back",
        lambda stand, length: fail_spool_writes(stand, length.seconds),
    ),
    Fault(
        "upgrade",
        "a server whose spool has version 1 fills it, is killed (-9), and the present one started",
        lambda stand, length: upgrade_with_full_spool(stand, length.seconds),
    ),
    Fault("lock-table", "http_requests is locked (ACCESS EXCLUSIVE), 10 s at least", _lock_table),
    Fault("backup", "pg_dump's locks, a partition is due, and the server is killed (-9) and started", _back_up),
    Fault("kill-backends", "backends are terminated at random", _kill_backends),
    Fault("kill-workers", "workers are killed (-9) at random", _kill_workers),
    Fault("kill-server", "the whole server is killed (-9) and started again", _kill_server),
    Fault("kill-anything", "at random a worker, the server, a backend or Postgres is killed (-9)", _kill_anything),
    Fault("kill-server-in-outage", "the same while Postgres is stopped", _kill_server_in_outage),
    Fault("kill-server-in-drain", "the same while the spool is drained", _kill_server_in_drain),
)
