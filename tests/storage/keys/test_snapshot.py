"""The copy of the keys that servers use while the database is down."""

import stat
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from storage.keys.api_keys import Scope, create_key, digest_of, revoke_key, valid_keys
from storage.keys.projects import create_project
from storage.keys.snapshot import FILE, KeySnapshot


@pytest.fixture
def copy(tmp_path: Path) -> KeySnapshot:
    return KeySnapshot(tmp_path / "data")


def test_keys_that_may_be_used_are_found_in_another_process(
    connection: psycopg.Connection, copy: KeySnapshot, tmp_path: Path
) -> None:
    project = create_project(connection, "shop")
    key, raw_key = create_key(connection, project.id, "lasting")
    limited, raw_limited = create_key(connection, project.id, "limited", timedelta(days=1))
    reading, raw_reading = create_key(connection, project.id, "reading", scope=Scope.READ)
    revoked, raw_revoked = create_key(connection, project.id, "revoked")
    revoke_key(connection, revoked)
    _, raw_expired = create_key(connection, project.id, "expired", timedelta(0))
    copy.save(valid_keys(connection, limit=10))
    other = KeySnapshot(tmp_path / "data")
    for expected, raw in ((key, raw_key), (limited, raw_limited), (reading, raw_reading)):
        found = other.find(digest_of(raw))
        assert found is not None
        assert {name: getattr(found, name) for name in asdict(expected)} == asdict(expected)
    assert other.find(digest_of(raw_revoked)) is None
    assert other.find(digest_of(raw_expired)) is None


def test_a_later_copy_replaces_the_earlier_one(connection: psycopg.Connection, copy: KeySnapshot) -> None:
    project = create_project(connection, "shop")
    key, raw_key = create_key(connection, project.id, "old")
    copy.save(valid_keys(connection, limit=10))
    assert copy.find(digest_of(raw_key)) is not None
    revoke_key(connection, key)
    _, raw_new = create_key(connection, project.id, "new")
    copy.save(valid_keys(connection, limit=10))
    assert copy.find(digest_of(raw_key)) is None
    assert copy.find(digest_of(raw_new)) is not None


def test_no_key_is_known_without_a_copy_or_with_a_damaged_one(copy: KeySnapshot, tmp_path: Path) -> None:
    assert not copy.exists
    assert copy.find(b"x" * 32) is None
    copy.save({})
    assert copy.exists
    (tmp_path / "data" / FILE).write_text("{")
    assert copy.find(b"x" * 32) is None


def test_only_its_owner_may_read_the_copy(copy: KeySnapshot, tmp_path: Path) -> None:
    copy.save({})
    assert stat.S_IMODE((tmp_path / "data" / FILE).stat().st_mode) == 0o600


def test_the_keys_used_last_come_first(connection: psycopg.Connection) -> None:
    project = create_project(connection, "shop")
    keys = [create_key(connection, project.id, str(number))[0] for number in range(3)]
    connection.execute("UPDATE api_keys SET last_used_at = now() + interval '1 hour' WHERE id = %s", (keys[0].id,))
    assert {key.id for key in valid_keys(connection, limit=2).values()} == {keys[0].id, keys[2].id}
