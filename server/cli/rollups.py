"""`seestack-ingest rollups`: how far the sums over rows are, and making them again."""

import time
from collections import Counter

import click
import psycopg

from server.cli.options import DATABASE_SETTINGS, explains_errors, with_settings
from server.cli.output import json_flag, print_json, print_table
from server.compiled.aggregator import choose_summing
from server.database.parts import Parts, connect_to_parts
from server.settings import Compiled, Settings
from storage.distribution.shards import table_of
from storage.reading.rollup_parts import moment_of
from storage.rollups.rolling import Roller
from storage.rollups.state import RollupState, begin_again, read_state

PAUSE_S = 0.2

_SIZES = """
SELECT name, pg_table_size(name::regclass) + pg_indexes_size(name::regclass),
       (SELECT greatest(reltuples::bigint, pg_stat_get_live_tuples(oid)) FROM pg_class WHERE oid = name::regclass)
  FROM unnest(ARRAY['rollup_days', 'rollup_hours', 'rollup_minutes', 'rollup_names']) AS name
"""
_HAS_ROWS = "SELECT EXISTS (SELECT FROM http_request_rows)"


@click.group()
def rollups() -> None:
    """Look at the sums over rows that answers about weeks are made of, and make them again."""


@rollups.command()
@json_flag
@with_settings(*DATABASE_SETTINGS)
@explains_errors
def status(settings: Settings, *, as_json: bool) -> None:
    """Show up to where rows are summed up, and how large the tables are; rows that wait are read singly meanwhile."""
    with connect_to_parts(settings) as parts:
        row = _describe(parts)
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
    with connect_to_parts(settings) as parts:
        for part in parts:
            begin_again(part)
        for part in parts:
            _roll_all(part)
    click.echo("all rows are summed up")


def _roll_all(connection: psycopg.Connection) -> None:
    roller = Roller(choose_summing(Compiled.AUTO))
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


def _describe(parts: Parts) -> dict[str, object]:
    states: dict[bool, list[RollupState]] = {True: [], False: []}  # of parts with rows, and of others
    sizes, rows = Counter[str](), Counter[str]()
    for part in parts:
        state = read_state(part)
        states[state.mark != 0 or part.execute(_HAS_ROWS).fetchone() == (True,)].append(state)
        for name, size, count in part.execute(_SIZES):
            sizes[table_of(part, name)] += size
            rows[table_of(part, name)] += count
    told = states[True] or states[False]
    kept_from_us = [state.kept_from_us for state in told if state.kept_from_us is not None]
    return {
        "isReadable": all(state.is_readable for state in told),
        "transactionsWaiting": max(state.next_transaction - max(state.mark, 0) for state in told),
        "heldBackByOpenTransactions": max(state.next_transaction - state.final_below for state in told),
        "minutesFrom": moment_of(max(state.minutes_from_us for state in told)),
        "hoursUntil": moment_of(min(state.hours_until_us for state in told)),
        "daysUntil": moment_of(min(state.days_until_us for state in told)),
        "keptFrom": moment_of(max(kept_from_us)) if kept_from_us else None,
        **{name: f"{size:,} bytes, about {rows[name]:,} rows" for name, size in sizes.items()},
    }
