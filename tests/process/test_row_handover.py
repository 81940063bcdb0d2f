"""Processes hand over what they have stored, and the rollups are the same whether that arrives or not."""

import asyncio
import os
import struct
from collections.abc import Callable
from uuid import uuid4

import psycopg
import pytest

from server.row_handover import MOST_UNSENT_BYTES, RowReceiver, RowSender
from storage.rollups.handed_rows import Handover
from storage.writing.destination import Target
from storage.writing.flush_report import FlushReport
from storage.writing.submission import Submission
from tests.batches import make_batch
from tests.grpc_client import ReflectingClient
from tests.process.polling import kill, live_workers, wait_until
from tests.process.scraping import scrape
from tests.running_server import RunningServer, start_server
from tests.storage.rows import encoded

HEADER = struct.Struct("=QiIQ")
BY_HAND = """
INSERT INTO http_request_rows (id, project, "timestamp", duration_ms, is_inbound, status_code, method, host, path)
SELECT gen_random_uuid(), project, now(), 1, false, 200, 'GET', 'h', '/' FROM http_request_rows LIMIT 1
"""


def handed_rows(server: RunningServer, send: Callable[[], object], rows: int) -> float:
    """Send so many rows, wait until the rollups have them, and return how many of them were handed over."""
    before = scrape(server)
    send()
    wait_until(
        lambda: scrape(server).get("rolled_up_rows_total") == before.get("rolled_up_rows_total") + rows,
        "all rows are in the rollups",
    )
    return scrape(server).get("rollup_handed_rows_total") - before.get("rollup_handed_rows_total")


def wait_until_handed(server: RunningServer, send: Callable[[], object], rows: int, handed: int) -> None:
    """Send again and again until rows are handed over: a pass may be sooner than they are, as the first one is."""
    wait_until(lambda: handed_rows(server, send, rows) == handed, "rows are handed over")


def post(server: RunningServer, rows: int, **headers: str) -> None:
    assert server.post(make_batch(server.project_id, rows), **headers).status == 202


@pytest.mark.parametrize("compiled", ["auto", "off"])
def test_rows_of_every_protocol_and_with_keys_are_handed_over(database_url: str, compiled: str) -> None:
    def call() -> None:
        assert client.ingest(make_batch(server.project_id, 4), {"x-seestack-key": server.api_key})["accepted"] == 4

    with start_server(database_url, "--compiled", compiled) as server:
        client = ReflectingClient(server.channel())
        wait_until_handed(server, lambda: post(server, 2), 2, 2)
        wait_until_handed(server, lambda: post(server, 3, Idempotency_Key=uuid4().hex), 3, 3)
        wait_until_handed(server, call, 4, 4)


def test_a_worker_that_comes_after_one_that_was_killed_hands_over_too(database_url: str) -> None:
    with start_server(database_url) as server:
        kill(live_workers(server, "http_bridge"))
        wait_until(lambda: scrape(server).get("worker_restarts_total", kind="http") == 1, "the worker is replaced")
        wait_until(lambda: server.request("GET", "/readyz").status == 200, "it serves")
        wait_until_handed(server, lambda: post(server, 3), 3, 3)


def test_rows_that_others_store_are_read(database_url: str) -> None:
    def send_and_insert() -> None:
        post(server, 2)
        with psycopg.connect(database_url) as connection:
            connection.execute(BY_HAND)

    with start_server(database_url) as server:
        wait_until_handed(server, send_and_insert, 3, 2)


def test_a_process_that_ends_amidst_its_rows_takes_none_of_others_along() -> None:
    handover = Handover()
    receiver = RowReceiver(handover)
    first, second = receiver.open(), receiver.open()
    os.write(first, HEADER.pack(7, 0, 2, 100) + b"cut off")
    os.write(second, HEADER.pack(8, 0, 1, 4)[:10])
    os.close(first)
    assert handover.between(0, 0, 100) == {}
    os.write(second, HEADER.pack(8, 0, 1, 4)[10:] + b"rows" + HEADER.pack(9, 0, 1, 0))
    assert handover.between(0, 0, 100) == {8: (1, b"rows"), 9: (1, b"")}
    os.close(second)


def test_rows_are_received_although_nobody_asks_for_them() -> None:
    handover = Handover()
    receiver = RowReceiver(handover)
    handover.receive = lambda: None
    pipe = receiver.open()
    os.write(pipe, HEADER.pack(8, 0, 1, 4) + b"rows")
    wait_until(lambda: handover.between(0, 0, 100) == {8: (1, b"rows")}, "rows are received")
    os.close(pipe)


def test_rows_are_sent_whole_or_not_at_all_when_nobody_reads_them() -> None:
    asyncio.run(_send_to_a_slow_reader())


async def _send_to_a_slow_reader() -> None:
    reader, own = os.pipe()
    sender = RowSender(own)
    await sender.start()
    reports = [_report(number) for number in range(3 * MOST_UNSENT_BYTES // 2**20)]
    for report in reports:
        sender.send(report)
    received = bytearray()
    at_least = MOST_UNSENT_BYTES // (2 * 2**20)
    numbers = [await _receive(reader, received, reports) for _ in range(at_least)]
    sender.send(reports[-1])
    while numbers[-1] != reports[-1].transaction_id:
        numbers.append(await _receive(reader, received, reports))
    sender.close()
    os.close(reader)
    assert numbers[:-1] == list(range(len(numbers) - 1))
    assert len(numbers) < len(reports)


async def _receive(reader: int, received: bytearray, reports: list[FlushReport]) -> int:
    """Return the number of the next report, which must be whole; `received` has what comes after it."""
    while len(received) < HEADER.size or len(received) < HEADER.size + HEADER.unpack_from(received)[3]:
        received += await asyncio.to_thread(os.read, reader, 2**20)
    number, shard, rows, size = HEADER.unpack_from(received)
    assert (shard, rows) == (3, reports[number].rows)
    assert received[HEADER.size :].startswith(reports[number].submissions[0].batch.data)
    del received[: HEADER.size + size]
    return int(number)


def _report(number: int) -> FlushReport:
    batch = encoded(1_000, path="/" + "x" * 1_000)
    submission = Submission(batch, asyncio.get_running_loop().create_future())
    submission.target = Target(batch.form, shard=3)
    return FlushReport(batch.rows, len(batch.data), 0.0, True, number, [submission])
