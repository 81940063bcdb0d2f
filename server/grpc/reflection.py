"""gRPC server reflection, by which clients such as grpcurl and ghz learn the service without its .proto file."""

from collections.abc import Sequence
from typing import Any, cast

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection


class _MethodFindingPool:
    """The default descriptor pool, which also finds methods: some clients ask for one by its full name."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - the pool's name for it
        """Return the file that defines a message, a service, or a method. Raises KeyError."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            self._pool.FindServiceByName(service).methods_by_name[method]
            return self._pool.FindFileContainingSymbol(service)


def enable_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Let clients ask `server` about these services of its own, and about those that every server has."""
    names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(
        names, server, pool=cast("descriptor_pool.DescriptorPool", _MethodFindingPool())
    )
