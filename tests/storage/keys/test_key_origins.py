"""The origins that keys are bound to."""

import json
from datetime import timedelta
from pathlib import Path

import psycopg

from storage.keys.api_keys import create_key, digest_of, list_keys, rotate_key, valid_keys
from storage.keys.projects import create_project
from storage.keys.snapshot import FILE, KeySnapshot

ORIGINS = ["https://app.example.com", "http://localhost:3000"]


def test_a_key_keeps_its_origins_when_it_is_rotated(connection: psycopg.Connection) -> None:
    key, _ = create_key(connection, create_project(connection, "shop").id, "page", origins=ORIGINS)
    assert [listed.origins for listed in list_keys(connection)] == [ORIGINS]
    successor, _ = rotate_key(connection, key, timedelta(hours=1))
    assert successor.origins == ORIGINS
    assert successor.admits(ORIGINS[1])
    assert not successor.admits(None)


def test_a_copy_has_the_origins(connection: psycopg.Connection, tmp_path: Path) -> None:
    _, raw_key = create_key(connection, create_project(connection, "shop").id, "page", origins=ORIGINS)
    copy = KeySnapshot(tmp_path)
    copy.save(valid_keys(connection, limit=10))
    found = copy.find(digest_of(raw_key))
    assert found is not None
    assert found.origins == ORIGINS


def test_a_copy_from_before_there_were_origins_is_read(connection: psycopg.Connection, tmp_path: Path) -> None:
    _, raw_key = create_key(connection, create_project(connection, "shop").id, "old")
    copy = KeySnapshot(tmp_path)
    copy.save(valid_keys(connection, limit=10))
    file = tmp_path / FILE
    older = json.loads(file.read_text())
    for key in older.values():
        del key["origins"]
    file.write_text(json.dumps(older))
    found = KeySnapshot(tmp_path).find(digest_of(raw_key))
    assert found is not None
    assert found.admits("https://any.example.com")
