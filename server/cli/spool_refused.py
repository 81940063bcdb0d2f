"""`seestack-ingest spool list`, `export`, `retry` and `discard`: spooled batches that Postgres refused."""

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from server.cli.options import explains_errors, fail, with_settings
from server.cli.output import json_flag, print_json, print_table
from server.database.spool_drain import drain_lock
from server.settings import Settings
from storage.keys.snapshot import KeySnapshot
from storage.spool.file import SpoolFile
from storage.spool.folders import find_spool_folders
from storage.spool.refused import RefusedBatch, Retry, discard_refused, list_refused, retry_refused
from storage.writing.http_requests import to_sent
from storage.writing.row_form import Value

_IDENTITY_DIGITS = 8  # of a database's identity, in the id of a batch for a database other than the first
_OUTCOMES = {
    Retry.SPOOLED: "in the spool again",
    Retry.REPEATED: "in the spool already, by its idempotency key",
    Retry.KEY_REUSED: "still refused: its idempotency key is that of another batch in the spool",
    Retry.GONE: "not there any more",
}

_ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...")


@dataclass(frozen=True, slots=True)
class _Listed:
    """A refused batch, and the id by which people name it."""

    id: str
    file: SpoolFile
    batch: RefusedBatch


@click.command(name="list")
@json_flag
@with_settings("data_dir")
@explains_errors
def list_(settings: Settings, *, as_json: bool) -> None:
    """Show the batches that Postgres refused, and why."""
    with _open_refused(settings.data_dir) as refused:
        rows = [
            {
                "id": each.id,
                "refusedAt": each.batch.refused_at,
                "rows": each.batch.rows,
                "bytes": len(each.batch.data),
                "reason": each.batch.reason,
            }
            for each in refused
        ]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, empty="no batch was refused")


@click.command()
@_ids_argument
@with_settings("data_dir")
@explains_errors
def export(settings: Settings, *, ids: Sequence[str]) -> None:
    """Print refused batches, all or those of the ids, one JSON object a line.

    A line has the fields of an ingest request's body, so once its values are corrected it can be sent again as it is;
    `refused` has the reason that Postgres gave, and is ignored when the line is sent. The batches stay: see `discard`.
    """
    with _open_refused(settings.data_dir) as refused:
        for each in _choose(refused, ids) if ids else refused:
            click.echo(msgspec.json.encode(_as_request(each)))


@click.command()
@_ids_argument
@click.option("--all", "is_all", is_flag=True, help="all that were refused")
@click.option("--dry-run", "is_dry", is_flag=True, help="only show which ones it would be")
@json_flag
@with_settings("data_dir")
@explains_errors
def retry(settings: Settings, *, ids: Sequence[str], is_all: bool, is_dry: bool, as_json: bool) -> None:
    """Put refused batches into the spool again, to be stored with the others.

    This helps once the cause is removed in the database, or handled by a newer version.
    """
    if bool(ids) == is_all:
        raise click.UsageError("name the ids of batches (see `spool list`), or give --all")
    with _open_refused(settings.data_dir) as refused:
        chosen = refused if is_all else _choose(refused, ids)
        outcomes = [
            {
                "id": each.id,
                "rows": each.batch.rows,
                "outcome": "would be tried again"
                if is_dry
                else _OUTCOMES[retry_refused(each.file, each.batch.position)],
            }
            for each in chosen
        ]
        is_idle = any(_is_idle(each.file.folder) for each in chosen) and not is_dry
    if as_json:
        print_json(outcomes)
        return
    print_table(outcomes, empty="no batch was refused")
    if is_idle:
        click.echo("no server runs that would store them: start one, or run `seestack-ingest spool drain`")


@click.command()
@_ids_argument
@json_flag
@with_settings("data_dir")
@explains_errors
def discard(settings: Settings, *, ids: Sequence[str], as_json: bool) -> None:
    """Delete refused batches, for example after `export` and sending them again."""
    if not ids:
        raise click.UsageError("name the ids of batches (see `spool list`)")
    with _open_refused(settings.data_dir) as refused:
        outcomes = [
            {"id": each.id, "rows": each.batch.rows, "discarded": discard_refused(each.file, each.batch.position)}
            for each in _choose(refused, ids)
        ]
    if as_json:
        print_json(outcomes)
    else:
        print_table(outcomes, empty="")


@contextmanager
def _open_refused(data_dir: Path) -> Iterator[list[_Listed]]:
    """Yield the refused batches of all spools in a data folder, whose files are open meanwhile."""
    with ExitStack() as stack:
        listed = []
        for folder in find_spool_folders(data_dir):
            file = stack.enter_context(closing(SpoolFile(folder)))
            prefix = "" if folder == data_dir else f"{folder.name.partition('-')[2][:_IDENTITY_DIGITS]}-"
            listed += [_Listed(f"{prefix}{batch.position}", file, batch) for batch in list_refused(file)]
        yield listed


def _choose(refused: Sequence[_Listed], ids: Sequence[str]) -> list[_Listed]:
    by_id = {each.id: each for each in refused}
    if unknown := [id_ for id_ in ids if id_ not in by_id]:
        fail(f"no refused batch has the id {', '.join(unknown)}; `spool list` shows those that there are")
    return [by_id[id_] for id_ in dict.fromkeys(ids)]


def _is_idle(folder: Path) -> bool:
    with drain_lock(folder) as is_free:
        return is_free


def _as_request(each: _Listed) -> dict[str, object]:
    batch = each.batch
    refused: dict[str, object] = {
        "id": each.id, "reason": batch.reason, "at": batch.refused_at, "spooledAt": batch.spooled_at,
    }  # fmt: skip
    try:
        rows = batch.form.decode(batch.data)
    except ValueError as error:
        return {"refused": {**refused, "unreadable": str(error), "data": b64encode(batch.data).decode()}}
    return {
        "projectId": _project_of(each.file.folder, rows[0]),
        "requests": [_as_item(row) for row in rows],
        "refused": refused,
    }


def _project_of(folder: Path, row: "dict[str, Value]") -> Value:
    """Return the id of a row's project; None when no valid key of that project is known."""
    if isinstance(number := row.get("project"), int):
        return KeySnapshot(folder).project_of(number)
    return row["project_id"]


def _as_item(row: "dict[str, Value]") -> "dict[str, Value]":
    """Return a row by the names that its values have in a request."""
    return {_camel_case(name): value for name, value in to_sent(row).items() if name not in ("project_id", "project")}


def _camel_case(name: str) -> str:
    return re.sub("_(.)", lambda match: match[1].upper(), name)
