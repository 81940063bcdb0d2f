"""The cluster: the folder in which an embedded Postgres keeps its databases, its settings and its socket."""

import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from storage.embedded.permissions import check_way, make_private
from storage.embedded.programs import POSTGRES_MAJOR, ServerPrograms
from storage.errors import EmbeddedServerError

SOCKET_NAME = ".s.PGSQL.5432"
MAX_SOCKET_PATH = 100  # bytes; the kernel's limit is 107

_ERROR = re.compile(r"\b(?:error|FATAL|PANIC): +(.+)")
_PLAIN_PATH = re.compile(r"[\w/.-]+", re.ASCII)

_CONFIG_FILE = "seestack.conf"
_CONFIG = """\
# Written by seestack-ingest at each start. Settings of your own belong in ALTER SYSTEM, which wins over these.
listen_addresses = ''
unix_socket_directories = '{socket_folder}'
unix_socket_permissions = 0700
max_connections = 200
shared_buffers = '256MB'
max_wal_size = '4GB'
checkpoint_timeout = '15min'
# Whoever fills 16 MB of log would write the next file full of zeros first, and all commits would wait for that.
wal_init_zero = off
max_parallel_maintenance_workers = 0
timezone = 'UTC'
log_timezone = 'UTC'
"""


def cluster_path(data_folder: Path) -> Path:
    """Return the cluster of a data folder, whether there is one or not."""
    return data_folder / f"postgres-{POSTGRES_MAJOR}"


def socket_folder_of(cluster: Path) -> Path:
    """Return where the socket lives: in the cluster, or in a short and plain path.

    The kernel limits the length, and in URLs and configuration files other characters would mean something.
    """
    if len(str(cluster / SOCKET_NAME)) <= MAX_SOCKET_PATH and _PLAIN_PATH.fullmatch(str(cluster)):
        return cluster
    digest = hashlib.sha256(str(cluster).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"seestack-{os.geteuid()}-{digest}"


def create_cluster(cluster: Path, programs: ServerPrograms) -> None:
    """Make the cluster; one whose creation was cut off is made again. Raises EmbeddedServerError."""
    for leftover in cluster.parent.glob(f"{cluster.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)
    # A fresh name each time: what was cut off may still be writing.
    unfinished = Path(tempfile.mkdtemp(prefix=f"{cluster.name}.", dir=cluster.parent))
    make_private(unfinished, programs.user)
    exit_code, output = programs.run(
        unfinished, "initdb", "--pgdata=.", "--username=postgres", "--auth=trust", "--encoding=UTF8",
        "--locale=C", "--no-instructions",
    )  # fmt: skip
    if exit_code:
        raise EmbeddedServerError(f"initdb failed in {unfinished}: {reason_in(output)}")
    with (unfinished / "postgresql.conf").open("a") as config:
        config.write(f"include = '{_CONFIG_FILE}'\n")
    unfinished.rename(cluster)


def configure_cluster(cluster: Path, programs: ServerPrograms) -> None:
    """Write the settings that the server starts with."""
    config = cluster / _CONFIG_FILE
    config.write_text(_CONFIG.format(socket_folder=socket_folder_of(cluster)))
    if programs.user is not None:
        os.chown(config, programs.user.pw_uid, programs.user.pw_gid)


def check_cluster(cluster: Path, programs: ServerPrograms) -> None:
    """Raise EmbeddedServerError unless the cluster and its socket's folder are the user's own, and can be reached."""
    socket_folder = socket_folder_of(cluster)
    if socket_folder != cluster:
        make_private(socket_folder, programs.user)
    owner = os.geteuid() if programs.user is None else programs.user.pw_uid
    for folder in (cluster, socket_folder):
        if folder.stat().st_uid != owner:
            raise EmbeddedServerError(f"{folder} belongs to another user; choose another data folder")
    check_way(cluster, programs.user)


def reason_in(output: str) -> str:
    """Return the first error that a program printed, without what stands before it, or else the last line."""
    found = _ERROR.search(output)
    return found[1] if found else last_line(output)


def last_line(output: str) -> str:
    """Return the last line that a program printed."""
    return (output.strip() or "no message").splitlines()[-1]
