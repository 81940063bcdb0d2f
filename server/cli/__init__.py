"""The command line, `seestack-ingest`."""

import gc
from typing import Final

import click

_NAMES: Final = (
    "serve", "check", "migrate", "projects", "keys", "pages", "data", "rollups", "spool", "sample", "tail", "top",
    "stats", "trace", "psql", "backup", "restore",
)  # fmt: skip


class _Commands(click.Group):
    """All commands. The module of each is imported when it is used, and all when they are listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names."""
        return sorted(_NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, None when there is none of that name."""
        if cmd_name not in _NAMES:
            return None
        # What an import makes stays: to look for garbage among it would be a tenth of the start.
        gc.disable()
        try:
            return _import_command(cmd_name)
        finally:
            gc.enable()


def _import_command(name: str) -> click.Command:
    command: click.Command
    match name:
        case "serve":
            from server.cli.serve import serve as command
        case "check":
            from server.cli.check import check as command
        case "migrate":
            from server.cli.migrate import migrate as command
        case "projects":
            from server.cli.projects import projects as command
        case "keys":
            from server.cli.keys import keys as command
        case "pages":
            from server.cli.pages import pages as command
        case "data":
            from server.cli.data import data as command
        case "rollups":
            from server.cli.rollups import rollups as command
        case "spool":
            from server.cli.spool import spool as command
        case "sample":
            from server.cli.sample import sample as command
        case "tail":
            from server.cli.tail import tail as command
        case "top":
            from server.cli.top import top as command
        case "stats":
            from server.cli.stats import stats as command
        case "trace":
            from server.cli.trace import trace as command
        case "psql":
            from server.cli.psql import psql as command
        case "backup":
            from server.cli.backup import backup as command
        case "restore":
            from server.cli.backup import restore as command
        case _:
            raise KeyError(name)
    return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
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
