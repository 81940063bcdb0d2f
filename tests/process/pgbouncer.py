"""A real PgBouncer in transaction mode before a Postgres, on a Unix socket of its own."""

import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.process.polling import wait_until

PROGRAM = Path("/usr/sbin/pgbouncer")
POOL_SIZE = 3

_CONFIG = """
[databases]
* = host={host} user=postgres

[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
listen_port = 6432
auth_type = any
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = 200
"""


@dataclass
class PgBouncer:
    """A running PgBouncer; `url` leads through it to the database that it was started for."""

    url: str
    _command: list[str]
    _identity: dict[str, Any]
    _process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it and wait until it lets clients through."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._identity
        )
        wait_until(self._lets_through, "PgBouncer lets clients through", 30)

    def kill(self) -> None:
        """Kill it, which its clients and its servers notice at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _lets_through(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self.url):
            return True
        return False


@contextmanager
def pgbouncer(folder: Path, database_url: str) -> Iterator[PgBouncer]:
    """Run one in a new `folder`, as the user that Postgres runs as, before the database of `database_url`."""
    target = conninfo_to_dict(database_url)
    owner = pwd.getpwuid(Path(str(target["host"])).stat().st_uid)
    folder.mkdir()
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    config = folder / "pgbouncer.ini"
    config.write_text(_CONFIG.format(host=target["host"], folder=folder, pool_size=POOL_SIZE))
    config.chmod(0o644)
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        identity = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    url = f"postgresql://postgres@/{target['dbname']}?host={folder}&port=6432"
    running = PgBouncer(url, [str(PROGRAM), str(config)], identity)
    running.start()
    try:
        yield running
    finally:
        running.kill()
