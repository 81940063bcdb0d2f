"""`seestack-ingest tail`."""

from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from seestack.query.v1.query_pb2 import HttpRequest, TailHttpRequestsRequest
from server.cli.harmless import dump_json, harmless, to_json
from server.cli.query_client import QueryClient, with_query_client
from server.cli.query_options import with_filters


@click.command()
@with_filters
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each request, for scripts.")
@with_query_client
def tail(client: QueryClient, filters: dict[str, Any], *, as_json: bool) -> None:
    """Show requests as they are stored, until Ctrl-C."""
    console = Console(highlight=False)
    try:
        for arrived in client.follow(TailHttpRequestsRequest(**filters)):
            if arrived is None:
                if console.is_terminal and not as_json:
                    click.echo("following; Ctrl-C ends it", err=True)
                continue
            if arrived.dropped:
                _tell_dropped(arrived.dropped, as_json=as_json)
            for item in arrived.items:
                if as_json:
                    click.echo(dump_json(to_json(item)))
                elif console.is_terminal:
                    console.print(to_line(item), no_wrap=True, overflow="ellipsis", crop=True)
                else:
                    click.echo(to_line(item).plain)
    except KeyboardInterrupt:
        pass


def to_line(item: HttpRequest) -> Text:
    """Return the line of a request."""
    line = Text(_moment_of(item))
    line.append("  in " if item.direction == "inbound" else "  out")
    line.append(f"  {item.status_code or '---'}", style_of(item.status_code))
    line.append(f"  {item.duration_ms:>6} ms", "bold magenta" if item.is_slow else "")
    line.append(f"  {harmless(item.method):<6} ", "bold")
    line.append(harmless(item.host), "dim").append(harmless(item.path))
    if item.error_fingerprint:
        line.append(f"  {harmless(item.error_fingerprint)}", "red")
    if item.user_id:
        line.append(f"  {harmless(item.user_id)}", "dim")
    return line.append(f"  {harmless(item.trace_id)}", "dim")


def style_of(status: int) -> str:
    """Return the colour of a status; 0 is none that came."""
    return {2: "green", 3: "cyan", 4: "yellow", 0: "bold red", 5: "bold red"}.get(status // 100, "")


def _moment_of(item: HttpRequest) -> str:
    """Return when it happened, in UTC; the day too, when that is not today."""
    moment = item.timestamp.ToDatetime(UTC)
    text = moment.isoformat(" ", "milliseconds").partition("+")[0]
    return text.partition(" ")[2] if moment.date() == datetime.now(UTC).date() else text


def _tell_dropped(dropped: int, *, as_json: bool) -> None:
    if as_json:
        click.echo(dump_json({"dropped": dropped}))
    else:
        click.echo(f"{dropped:,} requests were left out: they came faster than they were read", err=True)
