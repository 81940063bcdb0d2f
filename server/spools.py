"""Which spool of the data folder a server uses, and its messages about the others."""

import logging
from contextlib import closing
from pathlib import Path
from uuid import UUID

from server.settings import Settings, Spooling
from storage.database_identity import location_of
from storage.embedded.server import EmbeddedServer
from storage.errors import SpoolError
from storage.spool.folders import assign_folder, find_folder, find_spool_folders
from storage.spool.spool import Spool

_logger = logging.getLogger(__name__)


def assign_spool_folder(settings: Settings, url: str, database_id: UUID) -> Path | None:
    """Return the folder whose spool is for the database that was reached at `url`, None when the spool is off.

    Raises SpoolError.
    """
    if settings.spool is Spooling.OFF:
        return None
    return assign_folder(settings.data_dir, database_id, location_of(url))


def recall_spool_folder(settings: Settings, url: str) -> Path | None:
    """Return the folder whose spool is for the database at `url`, which cannot be reached; None if none is known."""
    if settings.spool is Spooling.OFF:
        return None
    location = location_of(url)
    folder = find_folder(settings.data_dir, location)
    if folder is not None:
        with closing(Spool(folder, max_bytes=0)) as spool:
            spool.adopt(None, location)
    return folder


def open_spool(settings: Settings) -> Spool | None:
    """Return the spool of the database that these settings name, None when it is off. Raises SpoolError."""
    if settings.spool is Spooling.OFF:
        return None
    location = location_of(database_url_of(settings))
    folder = find_folder(settings.data_dir, location)
    if folder is None:
        raise SpoolError(f"no spool in {settings.data_dir} is for the database at {location}")
    return Spool(folder, max_bytes=settings.spool_max_bytes)


def database_url_of(settings: Settings) -> str:
    """Return the URL in settings that have one, as those of a running server do."""
    assert settings.database_url is not None  # noqa: S101 - a server puts the embedded database's there
    return settings.database_url.get_secret_value()


def check_spool(settings: Settings) -> str:
    """Return what is in the spool that a server of these settings would use, and what waits in others.

    Raises SpoolError when it has no room for a batch.
    """
    if settings.spool is Spooling.OFF:
        return "off: while the database is down, batches are refused"
    url = settings.database_url
    location = location_of(url.get_secret_value() if url is not None else EmbeddedServer(settings.data_dir).url)
    folder = find_folder(settings.data_dir, location)
    message = f"{settings.data_dir}, made when a server starts"
    if folder is not None:
        with closing(Spool(folder, max_bytes=settings.spool_max_bytes)) as spool:
            if not spool.has_room():
                raise SpoolError(f"the spool in {folder} has no room: it is full, or its disk is, or cannot be written")
            status = spool.status()
        message = f"{folder}: {status.batches} batches wait, {status.refused} were refused"
    return "; ".join([message, *find_waiting_elsewhere(settings.data_dir, folder)])


def report_spools(data_dir: Path, spool: Spool) -> None:
    """Log what is left in the spool that is used, and what waits in others."""
    status = spool.status()
    if status.batches:
        _logger.warning("the spool holds %d batches from an earlier run; they are stored now", status.batches)
    if status.refused:
        _logger.error("%d spooled batches were refused by Postgres; see `seestack-ingest spool list`", status.refused)
    for message in find_waiting_elsewhere(data_dir, spool.folder):
        _logger.warning("%s", message)


def find_waiting_elsewhere(data_dir: Path, folder: Path | None) -> list[str]:
    """Return a sentence for each spool of a data folder, other than that in `folder`, that holds batches."""
    messages = []
    for other in find_spool_folders(data_dir):
        if other == folder:
            continue
        try:
            with closing(Spool(other, max_bytes=0)) as spool:
                batches = spool.status().batches
                owner = spool.owner()
        except SpoolError as error:
            messages.append(str(error))
        else:
            if batches:
                messages.append(f"{batches} batches in {other} wait for another database: {owner}")
    return messages
