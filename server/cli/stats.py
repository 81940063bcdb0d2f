"""`seestack-ingest stats`."""

from datetime import timedelta
from typing import Any

import click

from seestack.query.v1.query_pb2 import GetStatsRequest
from server.cli.harmless import dump_json, to_json
from server.cli.output import json_flag
from server.cli.query_client import QueryClient, with_query_client
from server.cli.query_options import last_option, to_request, with_filters
from server.contract.query_method import QueryMethod


@click.command()
@last_option("24h")
@with_filters
@json_flag
@with_query_client
def stats(client: QueryClient, last: timedelta, filters: dict[str, Any], *, as_json: bool) -> None:
    """Sum requests up: how many, how many failed, how long they took."""
    answer = client.ask(QueryMethod.STATS, to_request(GetStatsRequest, last, **filters))
    if as_json:
        click.echo(dump_json(to_json(answer), indent=2))
        return
    lines = {
        "requests": f"{answer.total_requests:,} ({answer.inbound_count:,} in, {answer.outbound_count:,} out)",
        "failed": f"{answer.failed_requests:,} ({answer.error_rate:.2f} %)",
        "slow": f"{answer.slow_rate:.2f} %",
        **{name: milliseconds(answer, name) for name in ("p50", "p90", "p95", "p99")},
        "sent": f"{answer.request_bytes:,} bytes",
        "received": f"{answer.response_bytes:,} bytes",
    }
    for name, value in lines.items():
        click.echo(f"{name:<9} {value}")


def milliseconds(answer: Any, name: str) -> str:
    """Return a percentile of an answer for people; it is absent where there are no requests."""
    return f"{getattr(answer, name):,.0f} ms" if answer.HasField(name) else "-"
