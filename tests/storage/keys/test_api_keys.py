"""The rows of API keys."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from storage.database import connect_async
from storage.errors import KeyRevokedError, NotFoundError
from storage.keys.api_keys import (
    ApiKey,
    create_key,
    digest_of,
    find_key,
    generate_raw_key,
    list_keys,
    lookup_keys,
    revoke_key,
    rotate_key,
    touch_keys,
)
from storage.keys.projects import create_project
from tests.storage.event_loop import EventLoop

Ask = Callable[..., Any]

MOMENT = datetime(2026, 3, 31, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def project_id(connection: psycopg.Connection) -> UUID:
    return create_project(connection, "shop").id


@pytest.fixture
def ask(loop: EventLoop, migrated_url: str) -> Iterator[Ask]:
    """Returns what a coroutine function gives for a connection on an event loop, and further arguments."""
    connection = loop.run(connect_async(migrated_url, name="tests"))
    yield lambda action, *arguments: loop.run(action(connection, *arguments))
    loop.run(connection.close())


def key_with(expires_at: datetime | None = None, revoked_at: datetime | None = None) -> ApiKey:
    return ApiKey(uuid4(), uuid4(), 1, "default", "seestack_live_abcdef", MOMENT, expires_at, revoked_at, *(None,) * 5)


def seconds_from_now(moment: datetime | None) -> float:
    assert moment is not None
    return (moment - datetime.now(UTC)).total_seconds()


def test_a_new_key_is_valid_for_good(connection: psycopg.Connection, project_id: UUID) -> None:
    key, raw_key = create_key(connection, project_id, "checkout")
    assert (key.project_id, key.name) == (project_id, "checkout")
    assert (key.expires_at, key.revoked_at, key.last_used_at) == (None, None, None)
    assert raw_key.startswith(key.prefix)
    assert len(key.prefix) == 20
    assert abs(seconds_from_now(key.created_at)) < 30
    assert key.is_valid(datetime.now(UTC) + timedelta(days=36_500))


def test_only_the_digest_of_a_key_is_stored(connection: psycopg.Connection, project_id: UUID) -> None:
    key, raw_key = create_key(connection, project_id, "checkout")
    row = connection.execute("SELECT api_keys::text, digest FROM api_keys").fetchone()
    assert row is not None
    stored, digest = row
    assert digest == sha256(raw_key.encode()).digest() == digest_of(raw_key)
    assert key.prefix in stored
    secret = raw_key.removeprefix(key.prefix)
    for form in (secret, secret.encode().hex()):
        assert form not in stored


def test_a_lifetime_sets_when_the_key_expires(connection: psycopg.Connection, project_id: UUID) -> None:
    key, _ = create_key(connection, project_id, "short", timedelta(hours=1.5))
    assert key.expires_at is not None
    assert key.expires_at - key.created_at == timedelta(hours=1.5)


def test_a_key_needs_a_project(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        create_key(connection, uuid4(), "orphan")


def test_keys_are_listed_oldest_first_by_project_or_all(connection: psycopg.Connection, project_id: UUID) -> None:
    other_id = create_project(connection, "other").id
    keys = [create_key(connection, project, "key")[0] for project in (project_id, other_id, project_id)]
    assert list_keys(connection) == keys
    assert list_keys(connection, project_id) == [keys[0], keys[2]]
    assert list_keys(connection, uuid4()) == []


def test_revoked_and_expired_keys_are_listed_too(connection: psycopg.Connection, project_id: UUID) -> None:
    revoked = revoke_key(connection, create_key(connection, project_id, "revoked")[0])
    expired, _ = create_key(connection, project_id, "expired", timedelta(0))
    assert list_keys(connection) == [revoked, expired]


def test_a_key_is_found_by_id_in_any_case_and_by_prefix(connection: psycopg.Connection, project_id: UUID) -> None:
    create_key(connection, project_id, "another")
    key, _ = create_key(connection, project_id, "wanted")
    assert find_key(connection, str(key.id)) == key
    assert find_key(connection, str(key.id).upper()) == key
    assert find_key(connection, key.prefix) == key


def test_a_raw_key_a_part_of_a_prefix_and_anything_else_find_nothing(
    connection: psycopg.Connection, project_id: UUID
) -> None:
    key, raw_key = create_key(connection, project_id, "default")
    for reference in (raw_key, key.prefix[:-1], key.name, str(uuid4()), "", "%", "' OR true --"):
        with pytest.raises(NotFoundError):
            find_key(connection, reference)


def test_a_prefix_that_several_keys_have_is_refused(connection: psycopg.Connection, project_id: UUID) -> None:
    first, _ = create_key(connection, project_id, "first")
    second, _ = create_key(connection, project_id, "second")
    connection.execute("UPDATE api_keys SET prefix = %s WHERE id = %s", (first.prefix, second.id))
    with pytest.raises(NotFoundError, match="2 keys"):
        find_key(connection, first.prefix)
    assert find_key(connection, str(second.id)).id == second.id


def test_a_revoked_key_is_invalid_and_keeps_the_first_moment(connection: psycopg.Connection, project_id: UUID) -> None:
    key, _ = create_key(connection, project_id, "default")
    bystander, _ = create_key(connection, project_id, "default")
    revoked = revoke_key(connection, key)
    assert abs(seconds_from_now(revoked.revoked_at)) < 30
    assert not revoked.is_valid(datetime.now(UTC))
    assert revoke_key(connection, key) == revoke_key(connection, revoked) == revoked
    assert find_key(connection, str(bystander.id)) == bystander


def test_rotation_lets_the_old_key_expire_within_the_overlap(
    connection: psycopg.Connection, ask: Ask, project_id: UUID
) -> None:
    old, _ = create_key(connection, project_id, "default")
    new, raw_key = rotate_key(connection, old, timedelta(hours=2))
    old = find_key(connection, str(old.id))
    assert 7_100 < seconds_from_now(old.expires_at) <= 7_200
    assert old.is_valid(datetime.now(UTC))
    assert (new.project_id, new.name, new.expires_at) == (project_id, "default", None)
    assert ask(lookup_keys, [digest_of(raw_key)]) != {}
    assert new.id != old.id


def test_rotation_without_overlap_ends_the_old_key_at_once(connection: psycopg.Connection, project_id: UUID) -> None:
    old, _ = create_key(connection, project_id, "default")
    new, _ = rotate_key(connection, old, timedelta(0))
    assert not find_key(connection, str(old.id)).is_valid(datetime.now(UTC))
    assert new.is_valid(datetime.now(UTC))


def test_rotation_never_makes_a_key_live_longer(connection: psycopg.Connection, project_id: UUID) -> None:
    old, _ = create_key(connection, project_id, "default", timedelta(hours=1))
    rotate_key(connection, old, timedelta(hours=2))
    assert find_key(connection, str(old.id)).expires_at == old.expires_at


def test_a_revoked_key_gets_no_successor(connection: psycopg.Connection, project_id: UUID) -> None:
    key, _ = create_key(connection, project_id, "default")
    with pytest.raises(KeyRevokedError):
        rotate_key(connection, revoke_key(connection, key), timedelta(hours=2))
    assert [other.id for other in list_keys(connection)] == [key.id]


def test_lookup_gives_every_key_that_exists_by_its_digest(
    connection: psycopg.Connection, ask: Ask, project_id: UUID
) -> None:
    valid, valid_raw = create_key(connection, project_id, "valid")
    revoked, revoked_raw = create_key(connection, project_id, "revoked")
    expired, expired_raw = create_key(connection, project_id, "expired", timedelta(0))
    create_key(connection, project_id, "not asked for")
    revoke_key(connection, revoked)

    digests = [digest_of(raw_key) for raw_key in (valid_raw, revoked_raw, expired_raw, generate_raw_key())]
    found = ask(lookup_keys, digests)

    assert {digest: key.id for digest, key in found.items()} == dict(
        zip(digests, (valid.id, revoked.id, expired.id), strict=False)
    )
    assert [key.is_valid(datetime.now(UTC)) for key in found.values()].count(True) == 1
    assert found[digests[1]].revoked_at is not None
    assert found[digests[2]].expires_at == expired.expires_at
    assert ask(lookup_keys, []) == {}


def test_a_use_is_noted_once_in_thirty_seconds(connection: psycopg.Connection, ask: Ask, project_id: UUID) -> None:
    key, _ = create_key(connection, project_id, "used")
    unused, _ = create_key(connection, project_id, "unused")

    ask(touch_keys, [key.id])
    first_use = find_key(connection, str(key.id)).last_used_at
    assert abs(seconds_from_now(first_use)) < 30
    ask(touch_keys, {key.id, uuid4()})
    assert find_key(connection, str(key.id)).last_used_at == first_use

    connection.execute("UPDATE api_keys SET last_used_at = now() - interval '31 seconds' WHERE id = %s", (key.id,))
    ask(touch_keys, [key.id])
    assert abs(seconds_from_now(find_key(connection, str(key.id)).last_used_at)) < 30
    assert find_key(connection, str(unused.id)).last_used_at is None


@pytest.mark.parametrize(
    ("key", "is_valid"),
    [
        (key_with(), True),
        (key_with(expires_at=MOMENT + MICROSECOND), True),
        (key_with(expires_at=MOMENT), False),
        (key_with(expires_at=MOMENT - MICROSECOND), False),
        (key_with(revoked_at=MOMENT), False),
        (key_with(revoked_at=MOMENT + timedelta(days=1)), False),
        (key_with(expires_at=MOMENT + timedelta(days=1), revoked_at=MOMENT), False),
    ],
)
def test_a_key_is_valid_until_it_expires_or_is_revoked(key: ApiKey, *, is_valid: bool) -> None:
    assert key.is_valid(MOMENT) is is_valid
