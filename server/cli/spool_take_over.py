"""`seestack-ingest spool take-over`: storing what a server that is gone for good left in its spool."""

import time
from contextlib import closing
from pathlib import Path

import click

from server.cli.options import DATABASE_SETTINGS, explains_errors, fail, with_settings
from server.cli.spool_draining import drain_until
from server.database.setup import connect_in_steps, open_database
from server.database.spool_drain import drain_lock
from server.settings import Settings
from server.spools import find_waiting_elsewhere
from storage.database_identity import location_of, read_identity
from storage.spool.folders import find_folder, find_spool_folders
from storage.spool.spool import Spool


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--timeout", "timeout_s", type=float, default=600.0, show_default=True, help="seconds to try for")
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def take_over(settings: Settings, *, folder: Path, timeout_s: float) -> None:
    """Store what waits in FOLDER, the data folder of a server that is gone for good, or a copy of that folder.

    Each batch is looked up in the database first, so that none is stored twice: this can be interrupted and run again,
    and the original and a copy may both be taken over. The server of FOLDER must not run.
    """
    deadline = time.monotonic() + timeout_s
    with open_database(settings) as (url, _):
        with connect_in_steps(settings) as connection:
            taken = find_folder(folder, location_of(url), read_identity(connection))
        if taken is None:
            where = "there is no spool" if not find_spool_folders(folder) else "no spool is for this database"
            fail(f"{where} in {folder}; `spool status --data-dir {folder}` shows what there is")
        with closing(Spool(taken, max_bytes=0)) as opened, drain_lock(taken) as is_mine:
            if not is_mine:
                fail(f"a server runs on {folder}, and stores what is in its spool itself")
            before = opened.status().batches
            why = drain_until(settings, deadline, opened, url, is_copy=True)
            after = opened.status()
    if after.batches:
        fail(f"{after.batches} of {before} batches are still in {taken} after {timeout_s:g} s: {why}; run this again")
    click.echo(f"{taken} is empty; {before} batches were in it")
    if after.refused:
        click.echo(f"{after.refused} batches were refused by Postgres: see `spool list --data-dir {folder}`")
    for message in find_waiting_elsewhere(folder, taken):
        click.echo(message)
