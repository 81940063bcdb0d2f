"""`seestack-ingest pages`."""

import click

from server.access.login_links import make_link
from server.cli.addresses import http_url
from server.cli.options import explains_errors, fail, with_settings
from server.settings import Settings


@click.group()
def pages() -> None:
    """Log in to the pages that the HTTP server has."""


@pages.command()
@with_settings("data_dir", "http_host", "http_port", "tls_cert")
@explains_errors
def link(settings: Settings) -> None:
    """Print a link that logs in to the pages as an administrator.

    It works once, within an hour, at a server that uses this data folder. Where a proxy is in front of the server, put
    its address in the place of the link's.
    """
    if not settings.data_dir.is_dir():
        fail(f"there is no data folder {settings.data_dir}; choose the one of the server with --data-dir")
    click.echo(make_link(settings.data_dir, http_url(settings)))
