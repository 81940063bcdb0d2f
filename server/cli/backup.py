"""`seestack-ingest backup` and `seestack-ingest restore`."""

from pathlib import Path

import click

from server.cli.options import DATABASE_SETTINGS, explains_errors, with_settings
from server.database.setup import open_database
from server.settings import Settings
from storage.backup import check_backup, restore_backup, write_backup


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def backup(settings: Settings, file: Path) -> None:
    """Write the whole database to FILE; servers may go on storing meanwhile.

    FILE is an archive of pg_dump's custom format, and is replaced only by a whole one. Batches in the spool are not in
    the database yet, and so not in FILE: look at `spool status` first.
    """
    with open_database(settings) as (url, _):
        write_backup(url, file)
    click.echo(f"wrote {file}: {file.stat().st_size:,} bytes")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def restore(settings: Settings, file: Path) -> None:
    """Put the backup in FILE into an empty database, all of it or nothing.

    That is a data folder without a database yet, in which one is made, or an empty database of your own. Another is
    left as it is.
    """
    check_backup(file)
    with open_database(settings, may_create=True) as (url, _):
        restore_backup(url, file)
    click.echo(f"restored {file}; `seestack-ingest serve` goes on with it")
