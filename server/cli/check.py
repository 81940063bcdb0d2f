"""`seestack-ingest check`."""

import errno
import os
import socket
import sys
from collections.abc import Callable

import click

from server.cli.options import explains_errors, with_settings
from server.cli.output import json_flag, print_json, print_table
from server.compiled.encoder import describe_choice
from server.database.check import check_database
from server.processes.listeners import ListenError, listen, reserve
from server.processes.tls import check_dates, read_tls
from server.settings import Settings, SettingsError, environment_name, find_misspelled
from server.spools import check_spool
from storage.errors import StorageError


@click.command()
@json_flag
@with_settings()
@explains_errors
def check(settings: Settings, *, as_json: bool) -> None:
    """Show the effective settings, and try whether the database, the spool, the ports and the TLS files can be used.

    Secrets are not shown. Ends with exit code 1 when something cannot be used. While a server runs, its ports are
    taken.
    """
    effective = {environment_name(name): value for name, value in settings.model_dump(mode="json").items()}
    checks = {
        "database": _try(lambda: check_database(settings)),
        "spool": _try(lambda: check_spool(settings)),
        "HTTP port": _try(lambda: _check_port(listen, settings.http_host, settings.http_port)),
        "gRPC port": _try(lambda: _check_port(reserve, settings.grpc_host, settings.grpc_port)),
        "metrics port": _try(lambda: _check_port(listen, settings.metrics_host, settings.metrics_port)),
        "TLS": _try(lambda: _check_tls(settings)),
        "compiled code": (True, describe_choice(settings.compiled)),
    }
    if as_json:
        results = {name: {"usable": usable, "message": message} for name, (usable, message) in checks.items()}
        print_json({"settings": effective, "checks": results})
    else:
        print_table([{"setting": name, "value": value} for name, value in effective.items()], empty="")
        rows = [
            {"check": name, "result": "usable" if usable else "NOT USABLE", "": message}
            for name, (usable, message) in checks.items()
        ]
        print_table(rows, empty="")
    for name, meant in find_misspelled(os.environ).items():
        click.echo(f"seestack-ingest: {name} is no setting; {meant} is", err=True)
    if not all(usable for usable, _ in checks.values()):
        sys.exit(1)


def _try(action: Callable[[], str]) -> tuple[bool, str]:
    try:
        return True, action()
    except (StorageError, ListenError, SettingsError) as error:
        return False, str(error)


def _check_port(bind: Callable[[str, int], socket.socket], host: str, port: int) -> str:
    try:
        bind(host, port).close()
    except ListenError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE:
            message = f"{error}: by a server that runs already, or another program"
            raise ListenError(message, is_port_wrong=True) from error
        raise
    return f"{host}, port {port}"


def _check_tls(settings: Settings) -> str:
    material = read_tls(settings)
    if material is None:
        return "off: both ports speak plain text"
    check_dates(settings, material)
    return f"certificate valid until {material.valid_until:%Y-%m-%d}"
