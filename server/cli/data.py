"""`seestack-ingest data`: how much is stored, and deleting what is old."""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial

import click
import psycopg

from server.cli.options import DATABASE_SETTINGS, explains_errors, fail, with_settings
from server.cli.output import json_flag, print_json, print_table
from server.cli.steps import patiently, progress_bar
from server.database.setup import connect_in_steps
from server.settings import Settings
from storage.keys.projects import list_projects
from storage.retention import OTHER_DAYS, delete_deleted_projects, delete_other_days, drop_day, expired_days, limit_of
from storage.usage import count_rows, list_partitions

OTHERS = "other days"


class Days(click.ParamType[int]):
    """A number of days, as `30d`."""

    name = "days"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        match = re.fullmatch("([1-9][0-9]{0,4})d", value)
        if match is None:
            self.fail(f"{value!r} is not a number of days: give one with a d, e.g. 30d", param, ctx)
        return int(match[1])


@click.group()
def data() -> None:
    """Look at how much is stored, and delete what is old."""


@data.command()
@json_flag
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def usage(settings: Settings, *, as_json: bool) -> None:
    """Show rows and bytes by day and by project.

    Rows are counted, so they are exact; that takes about a second for ten million. The bytes of a day are exact, with
    indexes; those of a project are its share of the rows of each day.
    """
    rows_of, bytes_of = Counter[int](), Counter[int]()
    days: list[dict[str, object]] = []
    with connect_in_steps(settings) as connection:
        known = {project.number: project for project in list_projects(connection)}
        with progress_bar(hidden=as_json) as progress:
            partitions = list_partitions(connection)
            for partition in progress.track(partitions, description="counting"):
                rows = count_rows(connection, partition.name)
                rows_of.update(rows)
                bytes_of.update(
                    {number: partition.size_bytes * count // rows.total() for number, count in rows.items()}
                )
                day = partition.day or OTHERS
                days.append(
                    {"day": day, "partition": partition.name, "rows": rows.total(), "bytes": partition.size_bytes}
                )
    in_all = {"rows": rows_of.total(), "bytes": sum(partition.size_bytes for partition in partitions)}
    projects = [
        {
            "project": known[number].name if number in known else None,
            "projectId": str(known[number].id) if number in known else None,
            "rows": rows_of[number],
            "approximateBytes": bytes_of[number],
        }
        for number in sorted({*known, *rows_of}, key=lambda number: (-rows_of[number], number))
    ]
    if as_json:
        print_json({**in_all, "days": days, "projects": projects})
    else:
        print_table([day for day in days if day["rows"]], empty="there are no rows")
        print_table(projects, empty="there are no projects")


@data.command()
@click.option("--older-than", "days", type=Days(), required=True, metavar="DAYS", help="Whole days to keep, e.g. 30d.")
@click.option("--yes", is_flag=True, help="Delete; without it, only show what would go.")
@json_flag
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def prune(settings: Settings, days: int, *, yes: bool, as_json: bool) -> None:
    """Delete rows that are older than so many days before today (UTC), and what is left of deleted projects.

    Whole days go at once. Stopped in the middle, it goes on when it is run again. Rollups stay.
    """
    with connect_in_steps(settings) as connection:
        before = limit_of(datetime.now(UTC), days)
        sizes = {day.name: day.size_bytes for day in expired_days(connection, before)}
        counted = {name: count_rows(connection, name, before).total() for name in [*sizes, *OTHER_DAYS]}
        rows = {name: count for name, count in counted.items() if count or name in sizes}
        if yes:
            _prune(connection, before, rows, hidden=as_json)
    found = [{"partition": name, "rows": count, "bytes": sizes.get(name)} for name, count in rows.items()]
    if as_json:
        print_json({"before": before, "deleted": yes, "partitions": found})
        return
    print_table(found, empty=f"there are no rows older than {before:%Y-%m-%d}")
    if found:
        click.echo("deleted" if yes else "nothing was deleted: this is what would go with --yes")


def _prune(connection: psycopg.Connection, before: datetime, rows: Mapping[str, int], *, hidden: bool) -> None:
    """Delete; `rows` are how many there are by partition."""
    with progress_bar(hidden=hidden) as progress:
        task = progress.add_task("deleting rows", total=sum(rows.values()))
        for day in expired_days(connection, before):
            if not patiently(partial(drop_day, connection, day)):
                fail(f"{day.name} has rows that no server has summed up in rollups yet: run this again later")
            progress.advance(task, rows.get(day.name, 0))
        while deleted := patiently(partial(delete_other_days, connection, before)):
            progress.advance(task, deleted)
        while patiently(partial(delete_deleted_projects, connection)):
            pass
