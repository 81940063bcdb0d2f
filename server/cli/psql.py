"""`seestack-ingest psql`."""

import signal
import subprocess
import sys

import click

from server.cli.options import DATABASE_SETTINGS, explains_errors, with_settings
from server.database.setup import open_database
from server.settings import Settings
from storage.client_programs import client_environment, client_program


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PSQL_ARGUMENTS]...")
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def psql(settings: Settings, arguments: tuple[str, ...]) -> None:
    """Open the server's database in psql; arguments go to psql, such as -c 'SELECT count(*) FROM http_requests'."""
    with open_database(settings) as (url, _):
        # Ctrl-C is for psql, which cancels a query by it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        done = subprocess.run(  # noqa: S603 - a program of the wheel
            [client_program("psql"), *arguments], env=client_environment(url), check=False
        )
    sys.exit(done.returncode)
