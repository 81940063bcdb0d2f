"""`seestack-ingest spool`: what waits on the local disk, and draining it."""

import time
from contextlib import closing
from pathlib import Path

import click

from server.cli.options import DATABASE_SETTINGS, explains_errors, fail, with_settings
from server.cli.output import json_flag, print_json, print_table
from server.cli.spool_draining import drain_until
from server.cli.spool_refused import discard, export, list_, retry
from server.cli.spool_take_over import take_over
from server.database.setup import open_database
from server.database.spool_drain import drain_lock
from server.settings import Settings
from storage.database import connect
from storage.database_identity import location_of, read_identity
from storage.errors import SpoolError, StorageUnavailableError
from storage.spool.folders import find_folder, find_spool_folders
from storage.spool.spool import Spool

WATCH_INTERVAL_S = 0.5


@click.group()
def spool() -> None:
    """Look at the batches that wait on the local disk for the database, and store them."""


spool.add_command(list_)
spool.add_command(export)
spool.add_command(retry)
spool.add_command(discard)
spool.add_command(take_over)


@spool.command()
@json_flag
@with_settings("data_dir")
@explains_errors
def status(settings: Settings, *, as_json: bool) -> None:
    """Show each spool in the data folder: for which database it is, how much is in it, and since when."""
    rows = [_describe(folder) for folder in find_spool_folders(settings.data_dir)]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, empty=f"there is no spool in {settings.data_dir}")


@spool.command()
@click.option("--timeout", "timeout_s", type=float, default=60.0, show_default=True, help="seconds to try for")
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def drain(settings: Settings, *, timeout_s: float) -> None:
    """Store everything that is in the database's spool, or wait until a running server has."""
    deadline = time.monotonic() + timeout_s
    with open_database(settings) as (url, _):
        folder = _find_spool(settings, url)
        if folder is None:
            click.echo(f"no spool in {settings.data_dir} is for this database; `spool status` shows their databases")
            return
        with closing(Spool(folder, max_bytes=0)) as opened, drain_lock(folder) as is_mine:
            before = opened.status().batches
            if is_mine:
                why = drain_until(settings, deadline, opened, url)
            else:
                click.echo("a running server drains this spool; waiting for it")
                why = _watch(opened, deadline)
            left = opened.status().batches
    if left:
        fail(f"{left} batches are still in the spool after {timeout_s:g} s: {why}")
    click.echo(f"the spool is empty; {before} batches were in it")


def _describe(folder: Path) -> dict[str, object]:
    row: dict[str, object] = {"folder": str(folder)}
    try:
        with closing(Spool(folder, max_bytes=0)) as opened:
            found, owner = opened.status(), opened.owner()
    except SpoolError as error:
        return {**row, "error": str(error)}
    return {
        **row,
        "databaseId": str(owner.database_id) if owner is not None and owner.database_id is not None else None,
        "location": owner.location if owner is not None else None,
        "batches": found.batches,
        "rows": found.rows,
        "bytes": found.size_bytes,
        "oldestSeconds": round(found.oldest_age_s, 3),
        "stalledSeconds": round(found.stalled_s, 3),
        "refused": found.refused,
    }


def _find_spool(settings: Settings, url: str) -> Path | None:
    """Return the folder whose spool is for the database at `url`, which need not be up."""
    try:
        with connect(url) as connection:
            database_id = read_identity(connection)
    except StorageUnavailableError:
        database_id = None
    return find_folder(settings.data_dir, location_of(url), database_id)


def _watch(opened: Spool, deadline: float) -> str:
    while opened.status().batches and time.monotonic() < deadline:
        time.sleep(WATCH_INTERVAL_S)
    return "the running server has not stored them; its log says why"
