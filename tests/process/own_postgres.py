"""A Postgres of the system's packages, as an operator's own: over TCP and TLS, with a password."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests.certificates import Authority
from tests.cli.ports import closed_port

PASSWORD = "of-the-operator"
_SYSTEM = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class OwnPostgres:
    """A running one."""

    port: int
    certificate: Path

    def url(self, database: str = "postgres", password: str = PASSWORD) -> str:
        """Return the URL of a database."""
        return (
            f"postgresql://operator:{password}@localhost:{self.port}/{database}"
            f"?sslmode=verify-full&sslrootcert={self.certificate}"
        )

    def create_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{uuid4().hex}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)


@contextmanager
def start_own_postgres(parent: Path) -> Iterator[OwnPostgres]:
    """Run the oldest Postgres that the system has, in a new folder; skips the test where there is none."""
    installed = sorted(_SYSTEM.glob("*/bin"), key=lambda path: int(path.parent.name))
    if not installed:
        pytest.skip("the system has no Postgres")
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    folder = parent / f"own-postgres-{uuid4().hex[:8]}"
    folder.mkdir()
    authority = Authority(folder)
    certificate, key = authority.issue("own")
    password = folder / "password"
    password.write_text(PASSWORD)
    if user is not None:
        for path in (folder, certificate, key, password):
            shutil.chown(path, user.pw_uid)
    key.chmod(0o600)
    cluster = folder / "cluster"

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [installed[0] / program, f"--pgdata={cluster}", *arguments],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=folder,
            user=user and user.pw_uid,
        )  # fmt: skip

    run("initdb", "--username=operator", f"--pwfile={password}", "--auth=scram-sha-256", "--no-sync")
    with closed_port() as port:
        options = (
            f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 "
            f"-c ssl=on -c ssl_cert_file={certificate} -c ssl_key_file={key}"
        )
    (cluster / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
    run("pg_ctl", "start", "--wait", f"--options={options}", f"--log={folder / 'log'}")
    try:
        yield OwnPostgres(port, authority.certificate)
    finally:
        run("pg_ctl", "stop", "--wait", "--mode=immediate")
        shutil.rmtree(folder)
