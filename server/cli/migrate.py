"""`seestack-ingest migrate`."""

from datetime import UTC, datetime

import click
import psycopg

from server.cli.options import DATABASE_SETTINGS, explains_errors, with_settings
from server.database.nodes import coordinator_of
from server.database.row_moving import RowMoving
from server.database.setup import open_database, prepare_schema
from server.settings import Settings
from storage.brin_ranges import RangeSummaries
from storage.closed_days import close_days
from storage.database import connect

PROGRESS_S = 5.0


@click.command()
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def migrate(settings: Settings) -> None:
    """Bring the database's schema up to date and close days that are over, as `serve` does.

    Rows of an earlier version are moved as well. That can be interrupted: `serve` or another `migrate` goes on with it.
    """
    with open_database(settings, may_create=True) as (url, _), connect(url) as connection:
        done = prepare_schema(connection, coordinator_of(settings, url))
        click.echo("\n".join(f"applied {name}" for name in done) or "nothing to do: the schema is up to date")
        _move_rows(connection)
        RangeSummaries().summarize(connection)
        for day in close_days(connection, url, datetime.now(UTC)):
            click.echo(f"closed {day}")


def _move_rows(connection: psycopg.Connection) -> None:
    moving = RowMoving()
    while moving.work(connection, PROGRESS_S):
        click.echo(f"moving rows of an earlier version: {moving.unmoved_bytes:,} bytes are left")
    if not moving.is_over:
        click.echo("rows of an earlier version are left: another server moves them, or a transaction holds a table")
