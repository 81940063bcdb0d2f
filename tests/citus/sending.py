"""Senders of several projects, which remember what was acknowledged."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import psycopg

from storage.database import connect
from storage.distribution.catalogue import ROWS, read_placement
from storage.keys.projects import find_project
from tests.batches import make_item
from tests.citus.cluster import Node
from tests.running_server import RunningServer, create_key

NOT_SUMMED_UP = """
SELECT count(*) FROM {rows} WHERE project = %s AND transaction >= (SELECT mark FROM {state})
"""


@dataclass
class Sender:
    """Sends batches of one project, each of which has a trace id of its own."""

    server: RunningServer
    project_id: str
    project_number: int
    api_key: str
    acknowledged: list[str] = field(default_factory=list)
    refused: int = 0

    def send(self) -> int:
        """Send a batch of two rows and return the status."""
        trace = uuid4().hex
        items = [make_item(traceId=trace), make_item(traceId=trace)]
        status = self.server.post({"projectId": self.project_id, "requests": items}, X_SeeStack_Key=self.api_key).status
        if status == 202:
            self.acknowledged.append(trace)
        else:
            self.refused += 1
        return status


def make_senders(server: RunningServer, count: int) -> list[Sender]:
    """Return senders of so many new projects."""
    senders = []
    for _ in range(count):
        project_id, api_key = create_key(server.database_url)
        with connect(server.database_url) as connection:
            number = find_project(connection, project_id).number
        senders.append(Sender(server, project_id, number, api_key))
    return senders


@contextmanager
def sending(senders: list[Sender]) -> Iterator[None]:
    """Have all senders send, one batch after the other, until the end."""
    is_over = threading.Event()

    def run(sender: Sender) -> None:
        while not is_over.is_set():
            sender.send()

    threads = [threading.Thread(target=run, args=(sender,)) for sender in senders]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def stored(server: RunningServer, sender: Sender, node: Node | None = None) -> list[str]:
    """Return the trace of each row of a sender's project, as the coordinator or a node finds it."""
    name = server.database_url.rpartition("/")[2]
    with psycopg.connect(server.database_url if node is None else node.url(name)) as connection:
        query = "SELECT trace FROM http_request_rows WHERE project = %s"
        return [trace.hex for (trace,) in connection.execute(query, (sender.project_number,))]


def is_summed_up(server: RunningServer, sender: Sender) -> bool:
    """Tell whether the rollups of the shard have all rows of a project."""
    with psycopg.connect(server.database_url) as connection:
        shard = read_placement(connection).shard_of(sender.project_number)
    query = NOT_SUMMED_UP.format(rows=shard.table(ROWS), state=shard.table("rollup_state"))
    with psycopg.connect(shard.node.url(server.database_url)) as connection:
        return connection.execute(query.encode(), (sender.project_number,)).fetchone() == (0,)
