"""What a fault is injected into: a server, its Postgres, and a load on both protocols."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.faults.clients import Target
from bench.faults.disk import small_disk
from bench.faults.load import Load
from bench.faults.postgres import Postgres
from bench.faults.server import Server
from server.database.setup import prepare_schema
from storage.database import connect
from storage.keys.api_keys import create_key
from storage.keys.projects import create_project

DATABASE = "database"
SPOOL = "spool"


@dataclass(frozen=True)
class Stand:
    """A server that stores in a Postgres of its own, under load. The data of each is in a folder of its own."""

    database_folder: Path
    spool_folder: Path
    postgres: Postgres
    server: Server
    load: Load


@contextmanager
def set_up(folder: Path, *flags: str, disk: str | None = None) -> Iterator[Stand]:
    """Run everything in an empty `folder`; `disk` names the part whose data is on a small disk of its own.

    Raises FaultUnavailableError when there cannot be one.
    """
    # Root's Postgres runs as another user, who must reach its data.
    folder.chmod(0o711)
    with ExitStack() as stack:
        if disk is not None:
            stack.enter_context(small_disk(folder / disk))
        postgres = stack.enter_context(Postgres(folder / DATABASE))
        with connect(postgres.url) as connection:
            prepare_schema(connection)
            project = create_project(connection, "faults")
            _, api_key = create_key(connection, project.id, "faults")
        server = stack.enter_context(Server(folder / SPOOL, postgres.url, *flags))
        load = stack.enter_context(Load(Target(server.http, server.grpc, str(project.id), api_key)))
        yield Stand(folder / DATABASE, folder / SPOOL, postgres, server, load)
