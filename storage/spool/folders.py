"""Which spool of a data folder belongs to which database.

The data folder's own spool belongs to the database that it was first used with; each other database gets a folder of
its own in there. While a database is down, the spool that was last used at its location is taken.
"""

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from uuid import UUID

from storage.errors import SpoolError
from storage.spool.file import FILE
from storage.spool.spool import Owner, Spool

_PREFIX = "spool-"


def find_spool_folders(data_dir: Path) -> list[Path]:
    """Return the folders of a data folder that have a spool; the first is its own, if it has one."""
    folders = [data_dir, *sorted(data_dir.glob(f"{_PREFIX}*"))]
    return [folder for folder in folders if (folder / FILE).exists()]


def owner_of(folder: Path) -> Owner | None:
    """Return the owner of the spool in a folder. Raises SpoolError."""
    with closing(Spool(folder, max_bytes=0)) as spool:
        return spool.owner()


def require_owner(folder: Path, database_id: UUID, location: str) -> None:
    """Do what Spool.require_owner does for the spool in a folder."""
    with closing(Spool(folder, max_bytes=0)) as spool:
        spool.require_owner(database_id, location)


def assign_folder(data_dir: Path, database_id: UUID, location: str) -> Path:
    """Return the folder whose spool belongs to a database that was reached at `location`; from now on one does.

    Raises SpoolError.
    """
    candidates = [data_dir / f"{_PREFIX}{database_id}"]
    if not (candidates[0] / FILE).exists():
        candidates.insert(0, data_dir)
    for folder in candidates:
        with closing(Spool(folder, max_bytes=0)) as spool:
            if spool.adopt(database_id, location):
                return folder
    raise SpoolError(f"the spool in {candidates[-1]} belongs to another database than its name says")


def find_folder(data_dir: Path, location: str, database_id: UUID | None = None) -> Path | None:
    """Return the folder whose spool belongs to a database, None when there is none.

    While its id is not known, that is the spool that was last used with the database at `location`; failing that, one
    that has no owner, since an earlier version made it. Raises SpoolError.
    """
    found = []
    for folder, owner in _owned(data_dir):
        is_known = database_id is not None and owner.database_id is not None
        if owner.database_id == database_id if is_known else owner.location == location:
            found.append((owner.used_at, folder))
    if found:
        return max(found)[1]
    return data_dir if (data_dir / FILE).exists() and owner_of(data_dir) is None else None


def _owned(data_dir: Path) -> Iterator[tuple[Path, Owner]]:
    for folder in find_spool_folders(data_dir):
        # One that cannot be read must not keep servers from the others.
        with suppress(SpoolError):
            owner = owner_of(folder)
            if owner is not None:
                yield folder, owner
