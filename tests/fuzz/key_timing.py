"""Whether the time a refusal takes tells a key that once was valid from one that never was issued."""

import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from random import Random
from statistics import median

import psycopg
from rich import box
from rich.console import Console
from rich.table import Table

from storage.keys.api_keys import PREFIX_LENGTH, digest_of, generate_raw_key
from tests.fuzz.identity import PROJECT_ID
from tests.http.raw_client import RawClient
from tests.running_server import INGEST_PATH, RunningServer

KEYS_OF_EACH = 300
NEVER_ISSUED = "never issued"
# What makes a key of that kind; None is one that is not stored.
KINDS: dict[str, str | None] = {
    NEVER_ISSUED: None,
    "revoked": "(%s, 'timing', %s, %s, NULL, now())",
    "expired": "(%s, 'timing', %s, %s, now(), NULL)",
}
TURNS = ("first time", "second time")

_INSERT = "INSERT INTO api_keys (project_id, name, prefix, digest, expires_at, revoked_at) VALUES "


def print_key_timing(server: RunningServer) -> None:
    """Try keys of each kind in random order, each twice, and print how long the refusals took."""
    keys = {kind: _make_keys(server, values) for kind, values in KINDS.items()}
    order = [(kind, key) for kind, some in keys.items() for key in some]
    times: dict[tuple[str, str], list[float]] = {(turn, kind): [] for turn in TURNS for kind in KINDS}
    # On one connection, so that the cache of one process answers the second time.
    with RawClient(server.http_port) as client:
        for turn in TURNS:
            Random(turn).shuffle(order)
            for kind, key in order:
                times[turn, kind].append(_time_refusal(client, key))
    _print(times)


def _make_keys(server: RunningServer, values: str | None) -> list[str]:
    keys = [generate_raw_key() for _ in range(KEYS_OF_EACH)]
    if values is not None:
        with psycopg.connect(server.database_url) as connection:
            rows = [(PROJECT_ID, key[:PREFIX_LENGTH], digest_of(key)) for key in keys]
            connection.cursor().executemany((_INSERT + values).encode(), rows)
    return keys


def _time_refusal(client: RawClient, key: str) -> float:
    request = f"POST {INGEST_PATH} HTTP/1.1\r\nHost: x\r\nX-SeeStack-Key: {key}\r\nContent-Length: 0\r\n\r\n".encode()
    began = time.perf_counter()
    client.send(request)
    answer = client.receive()
    assert answer.status == 401
    return time.perf_counter() - began


def _print(times: dict[tuple[str, str], list[float]]) -> None:
    table = Table(box=box.SIMPLE)
    for heading in ("key", "tried", "median ms", "slower than one never issued"):
        table.add_column(heading, justify="right" if "m" in heading and heading != "key" else "left")
    for (turn, kind), taken in times.items():
        share = _share_slower(taken, times[turn, NEVER_ISSUED])
        table.add_row(kind, turn, f"{1000 * median(taken):.2f}", f"{share:.2f}")
    Console(width=120).print(table)
    Console(width=120).print("0.50 in the last column: the time tells nothing.")


def _share_slower(times: Sequence[float], others: Sequence[float]) -> float:
    """Return how probable it is that one of `times` is longer than one of `others` (Mann and Whitney's U)."""
    ordered = sorted(others)
    beaten = sum(bisect_left(ordered, one) + bisect_right(ordered, one) for one in times)
    return beaten / 2 / len(times) / len(others)
