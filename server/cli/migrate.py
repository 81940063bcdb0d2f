"""`seestack-ingest migrate`."""

from datetime import UTC, datetime

import click

from server.cli.options import DATABASE_SETTINGS, explains_errors, with_settings
from server.database.setup import open_database, prepare_schema
from server.settings import Settings
from storage.brin_ranges import RangeSummaries
from storage.closed_days import close_days
from storage.database import connect


@click.command()
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def migrate(settings: Settings) -> None:
    """Bring the database's schema up to date and close days that are over, as `serve` does."""
    with open_database(settings, may_create=True) as (url, _), connect(url) as connection:
        done = prepare_schema(connection)
        RangeSummaries().summarize(connection)
        closed = close_days(connection, url, datetime.now(UTC))
    click.echo("\n".join(f"applied {name}" for name in done) or "nothing to do: the schema is up to date")
    for day in closed:
        click.echo(f"closed {day}")
