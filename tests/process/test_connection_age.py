"""gRPC connections that have reached their age: clients move to new ones, and no call or stream fails."""

from collections import deque
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from seestack.ingest.v1.ingest_pb2 import IngestHttpRequestsRequest
from seestack.ingest.v1.ingest_pb2_grpc import IngestServiceStub
from server.processes.listeners import listen, reserve
from server.processes.signals import Flag
from server.processes.supervisor import Supervisor
from server.settings import load_settings
from tests.batches import make_batch
from tests.patience import PATIENCE_S
from tests.process.open_stream import open_stream
from tests.project.repository import ROOT
from tests.running_server import create_key

MODULE = "tests.process.short_lived_connections"
UNDERWAY = 16
CONNECTIONS = 4


def test_calls_and_streams_outlive_the_age_of_their_connection(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    project_id, api_key = create_key(database_url)
    batch, metadata = make_batch(project_id), (("x-seestack-key", api_key),)
    with closing(listen("127.0.0.1", 0)) as listener, closing(reserve("127.0.0.1", 0)) as grpc_port:
        port = grpc_port.getsockname()[1]
        settings = load_settings(
            database_url=database_url,
            data_dir=tmp_path,
            grpc_port=port,
            spool="off",
            http_workers=1,
            grpc_workers=1,
            query_workers=0,
        )
        supervisor = Supervisor(settings, listener, grpc_module=MODULE)
        supervisor.start(Flag())
        try:
            with (
                grpc.insecure_channel(f"127.0.0.1:{port}", (("grpc.use_local_subchannel_pool", 1),)) as other,
                open_stream(other, api_key) as stream,
                grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
            ):
                send_over(channel, batch, metadata, CONNECTIONS)
                stream.send(batch)
                assert stream.receive().accepted == 1
        finally:
            supervisor.stop(Flag())


def send_over(channel: grpc.Channel, batch: dict[str, Any], metadata: Any, connections: int) -> None:
    """Keep calls under way until as many connections of a channel have ended; raises RpcError when a call fails."""
    ended = 0

    def count(state: grpc.ChannelConnectivity) -> None:
        nonlocal ended
        ended += state is grpc.ChannelConnectivity.IDLE

    channel.subscribe(count)
    call = IngestServiceStub(channel).IngestHttpRequests
    request = ParseDict(batch, IngestHttpRequestsRequest())
    underway: deque[Any] = deque()
    while underway or ended <= connections:
        while len(underway) < UNDERWAY and ended <= connections:
            underway.append(call.future(request, metadata=metadata, timeout=PATIENCE_S))
        assert underway.popleft().result().accepted == 1
