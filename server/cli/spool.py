"""`seestack-ingest spool`."""

import asyncio
import time

import click

from server.cli.options import DATABASE_SETTINGS, explains_errors, fail, with_settings
from server.cli.output import json_flag, print_json, print_table
from server.processes.database_setup import open_database
from server.processes.spool_drain import drain_lock, open_spool
from server.settings import Settings
from storage.spool.drain import Drainer
from storage.spool.spool import Spool, SpoolStatus

SPOOL_SETTINGS = (*DATABASE_SETTINGS, "spool_max_bytes")
WATCH_INTERVAL_S = 0.5


@click.group()
def spool() -> None:
    """Look at the batches that wait on the local disk for the database, and store them."""


@spool.command()
@json_flag
@with_settings(*SPOOL_SETTINGS)
@explains_errors
def status(settings: Settings, *, as_json: bool) -> None:
    """Show how much is in the spool, and since when."""
    row = _as_dict(_open(settings).status())
    if as_json:
        print_json(row)
    else:
        print_table([row], empty="")


@spool.command()
@click.option("--timeout", "timeout_s", type=float, default=60.0, show_default=True, help="seconds to try for")
@with_settings(*SPOOL_SETTINGS)
@explains_errors
def drain(settings: Settings, *, timeout_s: float) -> None:
    """Store everything that is in the spool, or wait until a running server has."""
    opened = _open(settings)
    before = opened.status()
    deadline = time.monotonic() + timeout_s
    with drain_lock(settings.data_dir) as is_mine:
        if not is_mine:
            click.echo("a running server empties this spool; waiting for it")
            _watch(opened, deadline)
        elif before.batches:
            with open_database(settings) as (url, _):
                asyncio.run(_drain(opened, url, deadline))
    left = opened.status()
    if left.batches:
        fail(f"{left.batches} batches are still in the spool: the database could not be used for {timeout_s:g} s")
    click.echo(f"the spool is empty; {before.batches} batches were in it")


def _open(settings: Settings) -> Spool:
    opened = open_spool(settings)
    if opened is None:
        fail("the spool is off")
    assert opened is not None  # noqa: S101 - fail does not return
    return opened


async def _drain(opened: Spool, url: str, deadline: float) -> None:
    drainer = Drainer(opened, url, name="spool")
    while opened.status().batches and time.monotonic() < deadline:
        if not await drainer.drain():
            await asyncio.sleep(drainer.RETRY_INTERVAL_S)
    drainer.close()


def _watch(opened: Spool, deadline: float) -> None:
    while opened.status().batches and time.monotonic() < deadline:
        time.sleep(WATCH_INTERVAL_S)


def _as_dict(found: SpoolStatus) -> dict[str, object]:
    return {
        "batches": found.batches,
        "rows": found.rows,
        "bytes": found.size_bytes,
        "oldestSeconds": round(found.oldest_age_s, 3),
        "refused": found.refused,
    }
