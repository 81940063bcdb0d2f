"""Which user Postgres runs as, and the folders that this user must be able to enter.

Postgres does not run as root, so root runs it as a service user. Only the server's own folders are changed for that
user: the data folder, and what is in it.
"""

import os
import pwd
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from storage.errors import EmbeddedServerError

_SERVICE_USERS = ("postgres", "daemon", "nobody")

# Prints the first of its arguments that cannot be entered. Mode bits are not enough: there are access control lists.
_FIND_CLOSED_FOLDER = 'for folder do cd "$folder" 2>/dev/null || { printf %s "$folder"; exit; }; done'

_ENTER = 0o011  # lets the group and others enter a folder, not list it


def service_user(cluster: Path) -> pwd.struct_passwd | None:
    """Return the user to run Postgres as: the owner of the cluster, if there is one; None for the present user.

    Raises EmbeddedServerError when root has no other user to choose.
    """
    if os.geteuid() != 0:
        return None
    if cluster.exists():
        return pwd.getpwuid(cluster.stat().st_uid)
    for name in _SERVICE_USERS:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedServerError(f"root cannot run Postgres, and none of the users {_SERVICE_USERS} exists")


def run_as(
    user: pwd.struct_passwd | None, folder: Path, command: Sequence[str | Path]
) -> "subprocess.CompletedProcess[str]":
    """Run a command in a folder as `user` and return its exit code and, as `stdout`, all that it printed."""
    identity: dict[str, Any] = {}
    if user is not None:
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    # A server that the command starts inherits standard output, and would keep a pipe open for ever: hence a file.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(  # noqa: S603 - our own commands
            command,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder, check=False,
            env={"LC_ALL": "C", "PATH": os.defpath}, start_new_session=True, **identity,
        )  # fmt: skip
        output.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, output.read())


def closed_folder(folder: Path, user: pwd.struct_passwd | None) -> Path | None:
    """Return the uppermost folder on the way to `folder` that `user` may not enter; None when it can be reached."""
    if user is None:
        return None
    way = [*reversed(folder.parents), folder]
    closed = run_as(user, Path("/"), ["/bin/sh", "-c", _FIND_CLOSED_FOLDER, "sh", *way]).stdout
    return Path(closed) if closed else None


def check_way(folder: Path, user: pwd.struct_passwd | None) -> None:
    """Raise EmbeddedServerError when `user` cannot reach a folder."""
    closed = closed_folder(folder, user)
    if closed is not None and user is not None:
        raise EmbeddedServerError(
            f"Postgres cannot run as root and runs as {user.pw_name}, which cannot enter {closed}: "
            f"choose a data folder elsewhere, such as below /var/lib, or let others pass with `chmod o+x {closed}`"
        )


def make_data_folder(folder: Path, user: pwd.struct_passwd | None) -> None:
    """Make a folder, and those above it that are missing, such that `user` can enter it.

    A folder that exists already is opened for `user` only if it is empty. Raises OSError, and EmbeddedServerError when
    a folder that is not the server's own is in the way.
    """
    own = [each for each in (folder, *folder.parents) if not each.exists()]
    if user is not None:
        if not own and not any(folder.iterdir()):
            own = [folder]
        foreign = own[-1].parent if own else folder
        if foreign.is_dir():
            check_way(foreign, user)
    folder.mkdir(parents=True, exist_ok=True)
    if user is not None:
        for each in own:
            each.chmod(each.stat().st_mode & 0o7777 | _ENTER)


def make_private(folder: Path, user: pwd.struct_passwd | None) -> None:
    """Make a folder that only `user` may enter, or take one that is there already.

    Raises EmbeddedServerError when it belongs to somebody else, or lies where `user` cannot reach it.
    """
    folder.mkdir(exist_ok=True)
    # In a shared temporary folder another user may have made it first.
    if folder.is_symlink() or folder.stat().st_uid not in (os.geteuid(), user and user.pw_uid):
        raise EmbeddedServerError(f"{folder} belongs to another user; remove it or choose another data folder")
    folder.chmod(0o700)
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    check_way(folder, user)
