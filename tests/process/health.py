"""A client of grpc.health.v1."""

from collections.abc import Iterator
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.patience import PATIENCE_S

SERVING = "SERVING"
NOT_SERVING = "NOT_SERVING"


def check_health(channel: grpc.Channel, service: str = "") -> str:
    """Return the status of a service, of the whole server by default."""
    stub: Any = HealthStub(channel)
    return _name(stub.Check(HealthCheckRequest(service=service), timeout=PATIENCE_S))


def watch_health(channel: grpc.Channel) -> Iterator[str]:
    """Yield the status of the server now and whenever it changes, until the call is over."""
    stub: Any = HealthStub(channel)
    return map(_name, stub.Watch(HealthCheckRequest(), timeout=PATIENCE_S))


def _name(response: HealthCheckResponse) -> str:
    return HealthCheckResponse.ServingStatus.Name(response.status)
