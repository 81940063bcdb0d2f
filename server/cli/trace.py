"""`seestack-ingest trace`."""

import click
from rich.console import Console

from seestack.query.v1.query_pb2 import GetTraceRequest
from server.cli.harmless import dump_json, harmless, to_json
from server.cli.options import fail
from server.cli.output import json_flag
from server.cli.query_client import QueryClient, with_query_client
from server.cli.waterfall import waterfall
from server.contract.query_method import QueryMethod

PLAIN_WIDTH = 160


@click.command()
@click.argument("trace_id", metavar="ID")
@json_flag
@with_query_client
def trace(client: QueryClient, trace_id: str, *, as_json: bool) -> None:
    """Show the requests of trace ID over time, oldest first, at most 1,000."""
    answer = client.ask(QueryMethod.TRACE, GetTraceRequest(trace_id=trace_id))
    if as_json:
        click.echo(dump_json(to_json(answer), indent=2))
    elif not answer.items:
        fail(f"there is no request of trace {harmless(trace_id)}")
    else:
        console = Console(highlight=False)
        lines = waterfall(answer.items, console.width if console.is_terminal else PLAIN_WIDTH)
        for line in lines:
            if console.is_terminal:
                console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
            else:
                click.echo(line.plain)
