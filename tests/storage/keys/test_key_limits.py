"""The columns of `api_keys` that hold limits."""

from dataclasses import astuple
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest

from storage.keys.api_keys import create_key, find_key, generate_raw_key, list_keys, rotate_key, set_limits
from storage.keys.limits import HIGHEST_RATE, LARGEST_BURST, LOWEST_RATE, KeyLimits, RateLimit
from storage.keys.projects import create_project

BOTH = KeyLimits(RateLimit(0.5, 3), RateLimit(1000.0, 5000))


@pytest.fixture
def project_id(connection: psycopg.Connection) -> UUID:
    return create_project(connection, "shop").id


def test_a_key_has_the_limits_that_it_was_given(connection: psycopg.Connection, project_id: UUID) -> None:
    free, _ = create_key(connection, project_id, "free")
    assert (free.is_limited, free.limits) == (False, KeyLimits())
    for limits in (BOTH, KeyLimits(requests=BOTH.requests), KeyLimits(rows=BOTH.rows)):
        made, _ = create_key(connection, project_id, "limited", limits=limits)
        assert made.is_limited
        assert made.limits == find_key(connection, str(made.id)).limits == limits


def test_limits_are_replaced_whole_and_for_one_key(connection: psycopg.Connection, project_id: UUID) -> None:
    key, other = (create_key(connection, project_id, name, limits=BOTH)[0] for name in ("changed", "other"))
    rows_only = KeyLimits(rows=RateLimit(7.0, 70))
    assert set_limits(connection, key, rows_only).limits == rows_only
    assert set_limits(connection, key, KeyLimits()).is_limited is False
    assert [row.limits for row in list_keys(connection) if row.id == other.id] == [BOTH]


def test_a_successor_has_the_limits_of_its_predecessor(connection: psycopg.Connection, project_id: UUID) -> None:
    old, _ = create_key(connection, project_id, "default", limits=BOTH)
    new, _ = rotate_key(connection, old, timedelta(hours=1))
    assert new.limits == find_key(connection, str(old.id)).limits == BOTH


def test_the_column_allows_the_whole_range_and_no_more(connection: psycopg.Connection, project_id: UUID) -> None:
    key, _ = create_key(connection, project_id, "default")
    for rate, burst in ((LOWEST_RATE, LARGEST_BURST), (HIGHEST_RATE, 1)):
        limits = KeyLimits(RateLimit(rate, burst), RateLimit(rate, burst))
        assert set_limits(connection, key, limits).limits == limits
    for rate, burst in ((0.0, 1), (float("nan"), 1), (HIGHEST_RATE * 2, 1), (1.0, 0), (1.0, LARGEST_BURST + 1)):
        for limits in (KeyLimits(requests=RateLimit(rate, burst)), KeyLimits(rows=RateLimit(rate, burst))):
            with pytest.raises(psycopg.errors.CheckViolation):
                set_limits(connection, key, limits)
    for column in ("requests_burst", "rows_per_second"):
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(f"UPDATE api_keys SET {column} = NULL")


def test_a_server_from_before_still_makes_keys_that_have_no_limits(
    connection: psycopg.Connection, project_id: UUID
) -> None:
    columns = "project_id, name, prefix, digest"
    connection.execute(
        f"INSERT INTO api_keys ({columns}) VALUES (%s, 'old', %s, sha256('old'))", (project_id, generate_raw_key()[:20])
    )
    assert [astuple(key.limits) for key in list_keys(connection)] == [(None, None)]
