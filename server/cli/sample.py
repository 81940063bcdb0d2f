"""`seestack-ingest sample`."""

import time

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from server.access.credentials import read_credentials
from server.cli.channel import Certificates, with_certificates
from server.cli.options import fail, with_settings
from server.cli.output import json_flag, print_json
from server.cli.sample_traffic import Client, GrpcClient, HttpClient, SendError, send_at_rate
from server.processes.listeners import join_host_port
from server.settings import Settings


@click.command()
@click.option("--protocol", type=click.Choice(["http", "grpc"]), default="http", show_default=True)
@click.option("--rows", type=click.IntRange(min=1), default=10_000, show_default=True, help="Rows to send in all.")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), default=1000.0, show_default=True, help="Rows a second."
)
@click.option("--batch-size", type=click.IntRange(1, 100), default=50, show_default=True, help="Rows a batch.")
@click.option("--url", help="HTTP server to send to.  [default: by the settings, http://127.0.0.1:8080]")
@click.option("--target", help="gRPC server to send to.  [default: by the settings, 127.0.0.1:50051]")
@click.option("--project-id", help="Project of the key.  [default: from credentials.json in the data folder]")
@click.option("--api-key", envvar="SEESTACK_API_KEY", show_envvar=True, help="Raw key.  [default: as above]")
@json_flag
@with_certificates
@with_settings("data_dir", "http_host", "http_port", "grpc_host", "grpc_port")
def sample(
    settings: Settings,
    protocol: str,
    rows: int,
    rate: float,
    batch_size: int,
    url: str | None,
    target: str | None,
    certificates: Certificates,
    project_id: str | None,
    api_key: str | None,
    *,
    as_json: bool,
) -> None:
    """Send realistic generated telemetry to a running server."""
    credentials = read_credentials(settings.data_dir)
    if credentials is not None:
        project_id, api_key = project_id or credentials.project_id, api_key or credentials.api_key
    if not project_id or not api_key:
        fail(f"no credentials.json in {settings.data_dir}: give --project-id and --api-key")
    started = time.monotonic()
    stored = 0
    try:
        client = _connect(settings, protocol, url, target, api_key, certificates)
        with _progress_bar(hidden=as_json) as progress:
            task = progress.add_task(f"sending over {protocol}", total=rows)
            for accepted in send_at_rate(client, project_id, rows=rows, rows_per_second=rate, batch_size=batch_size):
                stored += accepted
                progress.update(task, completed=stored)
    except SendError as error:
        fail(f"{stored} rows stored, then: {error}")
    except KeyboardInterrupt:
        pass
    seconds = time.monotonic() - started
    if as_json:
        print_json({"accepted": stored, "seconds": round(seconds, 3)})
    else:
        click.echo(f"{stored} rows stored in {seconds:.1f} s, {stored / seconds:.0f} rows/s")


def _connect(
    settings: Settings, protocol: str, url: str | None, target: str | None, api_key: str, certificates: Certificates
) -> Client:
    if protocol == "http":
        scheme = "http" if certificates.ca is None else "https"
        own_url = f"{scheme}://{join_host_port(settings.http_host, settings.http_port)}"
        return HttpClient(url or own_url, api_key, certificates.ca)
    return GrpcClient(target or join_host_port(settings.grpc_host, settings.grpc_port), api_key, certificates)


def _progress_bar(*, hidden: bool) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=hidden or not console.is_terminal,
    )
