"""The spool file by itself: what it keeps, and for whom."""

import collections
import itertools
import os
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from storage.errors import SpoolError, SpoolFullError
from storage.spool.file import FILE
from storage.spool.spool import Spool
from storage.writing.claims import make_claim
from storage.writing.http_requests import HTTP_REQUESTS
from tests.storage.rows import PROJECT_NUMBER, encoded, make_columns

PROJECT = uuid4()
SPACIOUS = 2**30


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def open_spool(folder: Path, max_bytes: int = SPACIOUS) -> Spool:
    return Spool(folder, max_bytes=max_bytes)


def test_batches_come_out_in_the_order_they_went_in(spool: Spool) -> None:
    batches = [encoded(count) for count in (1, 2, 3, 4)]
    spool.append(batches[:3])
    spool.append(batches[3:])
    assert [spooled.batch for spooled in spool.oldest(SPACIOUS)] == batches
    assert (spool.status().batches, spool.status().rows) == (4, 10)
    assert spool.status().size_bytes == sum(len(batch.data) for batch in batches)


def test_a_lot_is_as_large_as_allowed_but_never_empty(spool: Spool) -> None:
    batches = [encoded(path="x" * 1_000) for _ in range(3)]
    spool.append(batches)
    assert [spooled.batch for spooled in spool.oldest(len(batches[0].data) * 2)] == batches[:2]
    assert [spooled.batch for spooled in spool.oldest(1)] == batches[:1]


def test_removed_batches_are_gone_and_their_places_are_not_used_again(spool: Spool) -> None:
    spool.append([encoded(), encoded()])
    lot = spool.oldest(SPACIOUS)
    spool.remove(lot)
    assert spool.oldest(SPACIOUS) == []
    assert spool.status().oldest_age_s == 0
    spool.append([encoded()])
    assert spool.oldest(SPACIOUS)[0].position > lot[-1].position


def test_what_is_in_it_outlives_its_process(tmp_path: Path) -> None:
    """The file is left as a killed process leaves it: not closed."""
    child = os.fork()
    if child == 0:
        try:
            spool = open_spool(tmp_path)
            spool.append([encoded(2)])
            spool.mark(spool.oldest(SPACIOUS), 4711)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    (spooled,) = open_spool(tmp_path).oldest(SPACIOUS)
    assert (spooled.batch.rows, spooled.transaction_id) == (2, 4711)


def test_a_full_spool_takes_nothing_more_until_there_is_room(tmp_path: Path) -> None:
    batch = encoded(path="x" * 1_000)
    spool = open_spool(tmp_path, max_bytes=len(batch.data) * 2)
    spool.append([batch])
    with pytest.raises(SpoolFullError, match="is full"):
        spool.append([batch, batch])
    assert spool.status().batches == 1
    spool.append([batch])
    assert not spool.has_room()
    spool.remove(spool.oldest(1))
    spool.append([batch])


def test_a_spool_on_a_full_disk_can_be_emptied(small_disk: Path) -> None:
    spool = open_spool(small_disk)
    batches = [encoded(path="x" * 100_000) for _ in range(5)]
    with pytest.raises(SpoolError, match=r"full|no room"):
        collections.deque(map(spool.append, itertools.repeat(batches)), maxlen=0)
    fill(small_disk)
    while lot := spool.oldest(2**20):
        spool.mark(lot, 4711)
        spool.remove(lot)
    assert not spool.has_room()
    spool.shrink()
    (small_disk / "filling").unlink()
    assert spool.has_room()
    spool.append([encoded()])
    spool.close()


def test_there_is_no_room_on_a_full_disk_though_the_reserve_is_kept(small_disk: Path) -> None:
    spool = open_spool(small_disk)
    spool.append([encoded()])
    assert spool.has_room()
    fill(small_disk)
    assert not spool.has_room()
    (small_disk / "filling").unlink()
    assert spool.has_room()
    spool.close()


def fill(folder: Path) -> None:
    """Write until nothing more can be written."""
    with suppress(OSError), (folder / "filling").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def test_a_failed_spool_has_room_again_once_it_can_be_written(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("CREATE TRIGGER failing BEFORE INSERT ON batches BEGIN SELECT RAISE(ABORT, 'disk I/O'); END")
        other.execute("CREATE TRIGGER frozen BEFORE UPDATE ON totals BEGIN SELECT RAISE(ABORT, 'disk I/O'); END")
        with pytest.raises(SpoolError, match="disk I/O"):
            spool.append([encoded()])
        assert not spool.has_room()
        other.execute("DROP TRIGGER frozen")
        assert spool.has_room()


def test_nothing_is_added_to_a_file_that_was_deleted(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.append([encoded()])
    for path in tmp_path.glob(f"{FILE}*"):
        path.unlink()
    spool.append([encoded(2)])
    with closing(open_spool(tmp_path)) as found:
        assert [spooled.batch.rows for spooled in found.oldest(SPACIOUS)] == [2]


def test_a_spool_says_for_how_long_nothing_was_taken_from_it(spool: Spool) -> None:
    assert spool.status().stalled_s == 0
    spool.append([encoded(), encoded()])
    before = spool.status()
    assert 0 < before.stalled_s == pytest.approx(before.oldest_age_s)
    spool.remove(spool.oldest(1))
    after = spool.status()
    assert after.stalled_s < after.oldest_age_s


def test_a_refused_batch_is_put_aside(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.append([encoded(), encoded(2)])
    first, second = spool.oldest(SPACIOUS)
    spool.refuse(first, "no such direction")
    assert [spooled.position for spooled in spool.oldest(SPACIOUS)] == [second.position]
    assert (spool.status().batches, spool.status().refused) == (1, 1)
    with sqlite3.connect(tmp_path / FILE) as connection:
        reason, rows, data = connection.execute("SELECT reason, row_count, data FROM refused").fetchone()
    assert (reason, rows, data) == ("no such direction", 1, first.batch.data)


def test_several_processes_add_to_it(tmp_path: Path) -> None:
    spools = [open_spool(tmp_path) for _ in range(4)]

    def append(spool: Spool) -> None:
        for _ in range(25):
            spool.append([encoded()])

    with ThreadPoolExecutor() as executor:
        list(executor.map(append, spools * 2))
    assert spools[0].status().batches == len(spools[1].oldest(SPACIOUS)) == 200


def test_a_batch_with_a_key_is_kept_once(spool: Spool) -> None:
    batch, again, other = (
        HTTP_REQUESTS.encode(PROJECT_NUMBER, make_columns(), make_claim(PROJECT, "key", body))
        for body in (b"1", b"1", b"2")
    )
    assert spool.append([batch, encoded(), again, other]) == [3]
    assert spool.append([again]) == []
    assert spool.append([other]) == [0]
    kept = spool.oldest(SPACIOUS)
    assert kept[0].batch == batch
    assert len(kept) == 2


def test_only_its_owner_may_read_it(spool: Spool, tmp_path: Path) -> None:
    spool.append([encoded()])
    for path in tmp_path.glob(f"{FILE}*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_gives_the_disk_back(spool: Spool, tmp_path: Path) -> None:
    spool.append([encoded(path="x" * 1_000_000) for _ in range(5)])
    spool.remove(spool.oldest(SPACIOUS))
    spool.shrink()
    assert sum(path.stat().st_size for path in tmp_path.glob(f"{FILE}*")) < 2**18


def test_a_file_that_is_no_spool_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("something else entirely, and long enough to be looked at" * 20)
    with pytest.raises(SpoolError, match="cannot be used"):
        open_spool(tmp_path)
