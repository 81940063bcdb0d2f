"""The client by which commands ask a server, and the flags that say which server and with which key."""

import functools
from collections.abc import Iterator
from typing import Any

import click
import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from seestack.query.v1 import query_pb2_grpc
from server.access.api_key_header import KEY_HEADER
from server.access.credentials import credentials_path, read_credentials
from server.cli.channel import Certificates, with_certificates
from server.cli.harmless import harmless
from server.cli.options import Command, fail, with_settings
from server.contract.query_method import QueryMethod
from server.processes.listeners import join_host_port
from server.settings import Settings

TIMEOUT_S = 30.0

_KEY_ADVICE = "`seestack-ingest keys create --project NAME --scope read` makes a key to read; give it with --read-key"


class QueryError(Exception):
    """The server did not answer a query; the message says why, and what to do about it."""


class QueryClient:
    """Asks `target`, e.g. 127.0.0.1:50051."""

    def __init__(self, target: str, raw_key: str, certificates: Certificates) -> None:
        """Raises OSError, and QueryError for a key that cannot be sent."""
        if not (raw_key.isascii() and raw_key.isprintable()):
            raise QueryError(f"the key has characters that no key has; {_KEY_ADVICE}")
        self._target = target
        self._certificates = certificates
        self._channel = certificates.open_channel(target)
        self._stub = query_pb2_grpc.QueryServiceStub(self._channel)
        self._metadata = ((KEY_HEADER, raw_key),)

    def ask(self, method: QueryMethod, request: Message) -> Any:
        """Return the response to a request. Raises QueryError."""
        try:
            return getattr(self._stub, method)(request, timeout=TIMEOUT_S, metadata=self._metadata)
        except grpc.RpcError as error:
            raise QueryError(self._explain(error)) from error

    def follow(self, request: Message) -> Iterator[Any]:
        """Yield None once rows are followed, then responses as they come. Raises QueryError."""
        try:
            call: Any = self._stub.TailHttpRequests(request, metadata=self._metadata)  # type: ignore[arg-type]
            call.initial_metadata()
            yield None
            yield from call
        except grpc.RpcError as error:
            raise QueryError(self._explain(error)) from error

    def _explain(self, error: Any) -> str:
        told = harmless(error.details() or error.code().name)
        match error.code():
            case grpc.StatusCode.UNAVAILABLE if rpc_status.from_call(error) is None:
                return (
                    f"no server answers at {self._target}: `seestack-ingest serve` starts one, --target names another; "
                    f"{self._certificates.advice}"
                )
            case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
                return f"{told}; {_KEY_ADVICE}"
            case grpc.StatusCode.UNIMPLEMENTED:
                return f"the server at {self._target} answers no queries: it is older, or has no query workers"
            case grpc.StatusCode.INVALID_ARGUMENT:
                return "; ".join(_violations(error)) or told
        return told


def with_query_client(command: Command) -> Command:
    """Give a command the flags for a server, and call it with `client`; what goes wrong is one line."""

    @click.option("--target", metavar="HOST:PORT", help="gRPC address of the server.  [default: by the settings]")
    @click.option(
        "--read-key",
        envvar="SEESTACK_READ_KEY",
        show_envvar=True,
        metavar="KEY",
        help="Raw key to read.  [default: from credentials.json in the data folder]",
    )
    @with_certificates
    @with_settings("data_dir", "grpc_host", "grpc_port")
    @functools.wraps(command)
    def call(
        settings: Settings, target: str | None, read_key: str | None, certificates: Certificates, **arguments: Any
    ) -> Any:
        read_key = read_key or _stored_key(settings)
        target = target or join_host_port(settings.grpc_host, settings.grpc_port)
        try:
            return command(client=QueryClient(target, read_key, certificates), **arguments)
        except QueryError as error:
            fail(str(error))

    return call  # type: ignore[return-value]


def _stored_key(settings: Settings) -> str:
    credentials = read_credentials(settings.data_dir)
    if credentials is None or not isinstance(credentials.read_key, str):
        fail(f"no key to read in {credentials_path(settings.data_dir)}: {_KEY_ADVICE}")
    return credentials.read_key


def _violations(error: Any) -> Iterator[str]:
    status = rpc_status.from_call(error)
    for packed in status.details if status is not None else ():
        message = error_details_pb2.BadRequest()
        if packed.Unpack(message):
            yield from (
                harmless(f"{violation.field} {violation.description}") for violation in message.field_violations
            )
