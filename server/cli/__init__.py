"""The command line, `seestack-ingest`."""

import click

from server.cli.backup import backup, restore
from server.cli.check import check
from server.cli.data import data
from server.cli.keys import keys
from server.cli.migrate import migrate
from server.cli.projects import projects
from server.cli.psql import psql
from server.cli.rollups import rollups
from server.cli.sample import sample
from server.cli.serve import serve
from server.cli.spool import spool
from server.cli.stats import stats
from server.cli.tail import tail
from server.cli.top import top
from server.cli.trace import trace


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="seestack-ingest", message="%(prog)s %(version)s")
def main() -> None:
    """Ingest server for HTTP request telemetry: JSON and gRPC in, durable Postgres rows out.

    \b
    Start here:
      seestack-ingest serve     run the server; its banner shows how to send a batch
      seestack-ingest sample    send it generated telemetry
      seestack-ingest tail      watch requests come in; `top` sums them up by endpoint
      seestack-ingest psql      look at the rows
      seestack-ingest backup    save the database; `restore` puts it back

    Every setting is an environment variable, SEESTACK_..., and a flag of `serve`.
    """


for command in (
    serve, check, migrate, projects, keys, data, rollups, spool, sample, tail, top, stats, trace, psql, backup, restore,
):  # fmt: skip
    main.add_command(command)
