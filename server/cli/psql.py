"""`seestack-ingest psql`."""

import os
import signal
import subprocess
import sys

import click
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from server.cli.options import DATABASE_SETTINGS, explains_errors, with_settings
from server.processes.database_setup import open_database
from server.settings import Settings
from storage.embedded.programs import client_program


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PSQL_ARGUMENTS]...")
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def psql(settings: Settings, arguments: tuple[str, ...]) -> None:
    """Open the server's database in psql; arguments go to psql, such as -c 'SELECT count(*) FROM http_requests'."""
    with open_database(settings) as (url, _):
        # Ctrl-C is for psql, which cancels a query by it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # In the environment the URL's password does not show in the list of processes.
        done = subprocess.run(  # noqa: S603 - the psql that comes with the embedded server
            [client_program("psql"), *arguments], env={**os.environ, **_connection_environment(url)}, check=False
        )
    sys.exit(done.returncode)


def _connection_environment(url: str) -> dict[str, str]:
    """Return the environment variables that make libpq connect to `url`."""
    names = {option.keyword.decode(): option.envvar.decode() for option in Conninfo.get_defaults() if option.envvar}
    return {names[keyword]: str(value) for keyword, value in conninfo_to_dict(url).items() if keyword in names}
