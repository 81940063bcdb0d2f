"""`seestack-ingest rollups`: how far the sums over rows are, and making them again."""

import time

import click
import psycopg

from server.cli.options import DATABASE_SETTINGS, explains_errors, with_settings
from server.cli.output import json_flag, print_json, print_table
from server.compiled.aggregator import choose_aggregator
from server.database.setup import connect_current
from server.settings import Compiled, Settings
from storage.reading.rollup_parts import moment_of
from storage.rollups.rolling import Roller
from storage.rollups.state import begin_again, read_state

PAUSE_S = 0.2

_SIZES = """
SELECT relname, pg_table_size(oid) + pg_indexes_size(oid), greatest(reltuples, 0)::bigint
  FROM pg_class WHERE relname IN ('rollup_minutes', 'rollup_hours', 'rollup_days') ORDER BY relname
"""


@click.group()
def rollups() -> None:
    """Look at the sums over rows that answers about weeks are made of, and make them again."""


@rollups.command()
@json_flag
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def status(settings: Settings, *, as_json: bool) -> None:
    """Show up to where rows are summed up, and how large the tables are; rows that wait are read singly meanwhile."""
    with connect_current(settings) as connection:
        row = _describe(connection)
    if as_json:
        print_json(row)
    else:
        print_table([{"what": name, "value": value} for name, value in row.items()], empty="")


@rollups.command()
@click.option("--yes", is_flag=True, help="do not ask")
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def rebuild(settings: Settings, *, yes: bool) -> None:
    """Make all rollups again from the rows; answers stay exact meanwhile, and are slower.

    It can be interrupted: a server or another `rebuild` goes on with it. Sums over rows that are deleted are lost.
    """
    if not yes:
        click.confirm("Sums over rows that are deleted by now are lost. Go on?", abort=True)
    with connect_current(settings) as connection:
        begin_again(connection)
        _roll_all(connection)


def _roll_all(connection: psycopg.Connection) -> None:
    roller = Roller(choose_aggregator(Compiled.AUTO))
    rows, is_behind = 0, True
    while is_behind:
        done = roller.roll(connection)
        if done is None:
            time.sleep(PAUSE_S)  # a server makes a pass
            continue
        is_behind = done.is_behind
        rows += done.rows
        if done.rows:
            click.echo(f"summed up {rows:,} rows")
    click.echo("all rows are summed up")


def _describe(connection: psycopg.Connection) -> dict[str, object]:
    state = read_state(connection)
    row: dict[str, object] = {
        "isReadable": state.is_readable,
        "transactionsWaiting": max(0, state.next_transaction - max(state.mark, 0)),
        "heldBackByOpenTransactions": max(0, state.next_transaction - state.final_below),
        "minutesFrom": moment_of(state.minutes_from_us),
        "hoursUntil": moment_of(state.hours_until_us),
        "daysUntil": moment_of(state.days_until_us),
        "keptFrom": None if state.kept_from_us is None else moment_of(state.kept_from_us),
    }
    for table, size, rows in connection.execute(_SIZES):
        row[table] = f"{size:,} bytes, about {rows:,} rows"
    return row
