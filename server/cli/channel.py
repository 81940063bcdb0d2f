"""The gRPC channel by which commands ask a server, and the flags that say how it is protected."""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import click
import grpc

from server.cli.options import Command

_FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)


class Certificates(NamedTuple):
    """PEM files: the CAs to trust, without which the channel is plain text; what the client shows of itself."""

    ca: Path | None
    client: Path | None = None
    client_key: Path | None = None

    def open_channel(self, target: str) -> grpc.Channel:
        """Return a channel to `target`, e.g. 127.0.0.1:50051. Raises OSError."""
        if self.ca is None:
            return grpc.insecure_channel(target)
        own = (self.client_key, self.client)
        key, chain = (file.read_bytes() if file is not None else None for file in own)
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(self.ca.read_bytes(), key, chain))

    @property
    def advice(self) -> str:
        """What to do when a server seems to be there, and does not answer."""
        if self.ca is None:
            return "if it speaks TLS, give --ca-cert"
        return "if it asks for a certificate of clients, give --client-cert and --client-key"


def with_certificates(command: Command) -> Command:
    """Give a command the flags for certificates, and call it with `certificates`."""

    @click.option(
        "--ca-cert",
        type=_FILE,
        metavar="FILE",
        help="PEM file of the CAs to trust, or a self-made certificate; the connection uses TLS.",
    )
    @click.option(
        "--client-cert", type=_FILE, metavar="FILE", help="PEM file of this client's certificate, for gRPC over TLS."
    )
    @click.option("--client-key", type=_FILE, metavar="FILE", help="PEM file of that certificate's key.")
    @functools.wraps(command)
    def call(ca_cert: Path | None, client_cert: Path | None, client_key: Path | None, **arguments: Any) -> Any:
        if (client_cert is None) != (client_key is None):
            raise click.UsageError("--client-cert and --client-key need each other")
        if client_cert is not None and ca_cert is None:
            raise click.UsageError("--client-cert needs --ca-cert")
        return command(certificates=Certificates(ca_cert, client_cert, client_key), **arguments)

    return call  # type: ignore[return-value]
