"""`seestack-ingest data`: how much is stored, and deleting what is old."""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial

import click

from server.cli.options import DATABASE_SETTINGS, explains_errors, fail, with_settings
from server.cli.output import json_flag, print_json, print_table
from server.cli.steps import patiently, progress_bar
from server.database.parts import Parts, connect_to_parts
from server.settings import Settings
from storage.distribution.shards import table_of
from storage.keys.projects import list_projects
from storage.retention import OTHER_DAYS, delete_deleted_projects, delete_other_days, limit_of
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


@dataclass
class StoredDay:
    """What a partition has, in all its parts."""

    day: date | str
    rows: Counter[int] = field(default_factory=Counter)  # by the number of their project
    size_bytes: int = 0  # with indexes


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
    with connect_to_parts(settings) as parts:
        known = {project.number: project for project in list_projects(parts.whole)}
        days = _count_days(parts, hidden=as_json)
    for day in days.values():
        count = day.rows.total()
        rows_of.update(day.rows)
        bytes_of.update({number: day.size_bytes * rows // count for number, rows in day.rows.items()})
    in_all = {"rows": rows_of.total(), "bytes": sum(day.size_bytes for day in days.values())}
    shown = [
        {"day": stored.day, "partition": name, "rows": stored.rows.total(), "bytes": stored.size_bytes}
        for name, stored in days.items()
    ]
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
        print_json({**in_all, "days": shown, "projects": projects})
    else:
        print_table([day for day in shown if day["rows"]], empty="there are no rows")
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
    with connect_to_parts(settings) as parts:
        before = limit_of(datetime.now(UTC), days)
        sizes = {day.name: day.size_bytes for day in parts.expired_days(before)}
        counted = _count_old(parts, before, list(sizes))
        rows = {name: count for name, count in counted.items() if count or name in sizes}
        if yes:
            _prune(parts, before, rows, hidden=as_json)
    found = [{"partition": name, "rows": count, "bytes": sizes.get(name)} for name, count in rows.items()]
    if as_json:
        print_json({"before": before, "deleted": yes, "partitions": found})
        return
    print_table(found, empty=f"there are no rows older than {before:%Y-%m-%d}")
    if found:
        click.echo("deleted" if yes else "nothing was deleted: this is what would go with --yes")


def _count_days(parts: Parts, *, hidden: bool) -> dict[str, StoredDay]:
    """Return what is stored, by partition."""
    days: dict[str, StoredDay] = {}
    with progress_bar(hidden=hidden) as progress:
        task = progress.add_task("counting", total=len(parts))
        for part in parts:
            partitions = list_partitions(part)
            for partition in partitions:
                day = days.setdefault(table_of(part, partition.name), StoredDay(partition.day or OTHERS))
                day.rows.update(count_rows(part, partition.name))
                day.size_bytes += partition.size_bytes
                progress.advance(task, 1 / len(partitions))
    return days


def _count_old(parts: Parts, before: datetime, expired: Collection[str]) -> Counter[str]:
    """Return the number of rows that are older, by partition: those that are expired, and those of many days."""
    rows = Counter(dict.fromkeys([*expired, *OTHER_DAYS], 0))
    for part in parts:
        for partition in list_partitions(part):
            if (name := table_of(part, partition.name)) in rows:
                rows[name] += count_rows(part, partition.name, before).total()
    return rows


def _prune(parts: Parts, before: datetime, rows: Mapping[str, int], *, hidden: bool) -> None:
    """Delete; `rows` are how many there are by partition."""
    with progress_bar(hidden=hidden) as progress:
        task = progress.add_task("deleting rows", total=sum(rows.values()))
        for day in parts.expired_days(before):
            if not patiently(partial(parts.drop_day, day, before)):
                fail(f"{day.name} has rows that no server has summed up in rollups yet: run this again later")
            progress.advance(task, rows.get(day.name, 0))
        for part in parts:
            while deleted := patiently(partial(delete_other_days, part, before)):
                progress.advance(task, deleted)
            while patiently(partial(delete_deleted_projects, part)):
                pass
