"""The embedded Postgres: a real server out of a wheel, with its data in a folder of ours.

It listens on a Unix socket only, which only its owner and root may open. Several commands may use one data folder
at once: the first starts the server, the last one stops it, and a crash of any of them leaves nothing to clean.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from storage.embedded.cluster import (
    SOCKET_NAME,
    check_cluster,
    cluster_path,
    configure_cluster,
    create_cluster,
    last_line,
    socket_folder_of,
)
from storage.embedded.permissions import make_data_folder, service_user
from storage.embedded.programs import ServerPrograms
from storage.errors import EmbeddedServerError, NoDatabaseError

# Crash recovery replays up to max_wal_size of log before the server answers.
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60

# pg_ctl puts paths between double quotes into a shell's command line.
_UNQUOTABLE = frozenset('"$`\\\n')

_LOG_FILE = "server.log"


class EmbeddedServer:
    """A running embedded Postgres, as a context manager: started on entry if need be, released on exit."""

    def __init__(self, folder: Path, *, may_create: bool = True) -> None:
        """Take the data folder; `may_create` tells whether to make a database in it if there is none."""
        self._folder = folder.resolve()
        if not _UNQUOTABLE.isdisjoint(str(self._folder)):
            raise EmbeddedServerError('the path of the data folder must not hold any of " $ ` \\ and line breaks')
        self._cluster = cluster_path(self._folder)
        self._socket_folder = socket_folder_of(self._cluster)
        self._may_create = may_create
        self._programs = ServerPrograms(service_user(self._cluster))
        self._start_lock_file = self._folder / "start.lock"
        self._users_lock: int | None = None

    @property
    def url(self) -> str:
        """Connection URL for libpq. It holds no secret: the socket's permissions guard the server."""
        return f"postgresql://postgres@/postgres?host={self._socket_folder}"

    def __enter__(self) -> Self:
        self._prepare_folder()
        with self._start_lock():
            self._users_lock = _open_lock(self._folder / "users.lock")
            fcntl.flock(self._users_lock, fcntl.LOCK_SH)
            try:
                self._programs.make_reachable(self._folder)
                self._prepare_cluster()
                check_cluster(self._cluster, self._programs)
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

    def _prepare_folder(self) -> None:
        # Another process that holds the lock may be making the cluster now.
        if self._may_create:
            make_data_folder(self._folder, self._programs.user)
        elif not self._start_lock_file.exists():
            raise self._no_database()

    def _prepare_cluster(self) -> None:
        if not self._cluster.exists():
            if not self._may_create:
                raise self._no_database()
            create_cluster(self._cluster, self._programs)

    def _no_database(self) -> NoDatabaseError:
        return NoDatabaseError(
            f"there is no database in {self._folder}: name the folder that has one by --data-dir or SEESTACK_DATA_DIR, "
            "or make one by `seestack-ingest serve`"
        )

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
        lock = _open_lock(self._start_lock_file)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _is_running(self) -> bool:
        # 0: accepts connections; 1: refuses them, because it is starting or stopping.
        return self._programs.run(Path("/"), "pg_isready", f"--host={self._socket_folder}")[0] in (0, 1)

    def _start(self) -> None:
        self._programs.remove_old_copies(self._folder)
        configure_cluster(self._cluster, self._programs)
        self._remove_stale_locks()
        self._pg_ctl("start", f"--log={_LOG_FILE}", f"--timeout={START_TIMEOUT_S}")

    def _remove_stale_locks(self) -> None:
        """Remove what a killed server left, if its process is a zombie or another program has its pid by now.

        Postgres itself takes any living process of that number for its own, which in a container is never cleared up.
        """
        for lock in (self._cluster / "postmaster.pid", self._socket_folder / f"{SOCKET_NAME}.lock"):
            if not _is_held_by_postgres(lock):
                lock.unlink(missing_ok=True)

    def _pg_ctl(self, action: str, *options: str) -> None:
        exit_code, output = self._programs.run(
            self._cluster, "pg_ctl", action, "--wait", f"--pgdata={self._cluster}", *options
        )
        if exit_code:
            raise EmbeddedServerError(
                f"the embedded Postgres did not {action}: {last_line(output)} (its log: {self._cluster / _LOG_FILE})"
            )


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_held_by_postgres(lock: Path) -> bool:
    """Tell whether the process that a lock file of Postgres names in its first line is a living Postgres."""
    try:
        pid = int(lock.read_text().split()[0])
        # proc(5): pid (name) state ...
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    except (OSError, ValueError, IndexError):
        return False
    return name == "postgres" and rest.split()[0] not in ("Z", "X")
