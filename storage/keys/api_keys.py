"""API keys: their format and their rows. Only its creator knows a raw key; a digest is stored.

A key is `seestack_live_`, 24 random characters, and 6 characters of checksum over the text before them
(base 62). By its checksum a mistyped or invented key is recognised without asking the database.
"""

import hashlib
import secrets
import string
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from storage.errors import KeyRevokedError, NotFoundError
from storage.keys.limits import KeyLimits, RateLimit

SCHEME = "seestack_live_"
ALPHABET = string.digits + string.ascii_letters
RANDOM_LENGTH = 24  # 62 ** 24 is 142 bits
CHECKSUM_LENGTH = 6  # 62 ** 6 holds a CRC-32
PREFIX_LENGTH = len(SCHEME) + 6

_COLUMNS = (
    "id, project_id, (SELECT number FROM projects WHERE projects.id = project_id) AS project_number, "
    "name, prefix, created_at, expires_at, revoked_at, last_used_at, "
    "requests_per_second, requests_burst, rows_per_second, rows_burst, origins, scope"
)
_INSERT = """
INSERT INTO api_keys (project_id, name, prefix, digest, expires_at,
                      requests_per_second, requests_burst, rows_per_second, rows_burst, origins, scope)
VALUES (%(project_id)s, %(name)s, %(prefix)s, %(digest)s, now() + %(lifetime)s::interval,
        %(requests_per_second)s, %(requests_burst)s, %(rows_per_second)s, %(rows_burst)s, %(origins)s,
        %(scope)s)
RETURNING id
"""
_SELECT_ONE = f"SELECT {_COLUMNS} FROM api_keys WHERE id = %s"
_SELECT = f"""
SELECT {_COLUMNS} FROM api_keys
 WHERE %(project_id)s::uuid IS NULL OR project_id = %(project_id)s
 ORDER BY created_at, id
"""
_LOOKUP = f"SELECT {_COLUMNS}, digest FROM api_keys WHERE digest = ANY(%s)"
_VALID = f"""
SELECT {_COLUMNS}, digest FROM api_keys
 WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
 ORDER BY coalesce(last_used_at, created_at) DESC LIMIT %s
"""
_FIND = f"""
SELECT {_COLUMNS} FROM api_keys WHERE id::text = lower(%(reference)s) OR prefix = %(reference)s
"""
_REVOKE = "UPDATE api_keys SET revoked_at = now() WHERE id = %(id)s AND revoked_at IS NULL"
_LIMIT_LIFETIME = """
UPDATE api_keys SET expires_at = now() + %(lifetime)s::interval
 WHERE id = %(id)s AND (expires_at IS NULL OR expires_at > now() + %(lifetime)s::interval)
"""
_SET_LIMITS = """
UPDATE api_keys
   SET requests_per_second = %(requests_per_second)s, requests_burst = %(requests_burst)s,
       rows_per_second = %(rows_per_second)s, rows_burst = %(rows_burst)s
 WHERE id = %(id)s
"""
_LIMITS = """
SELECT id, requests_per_second, requests_burst, rows_per_second, rows_burst FROM api_keys WHERE id = ANY(%s)
"""
_TOUCH = """
UPDATE api_keys SET last_used_at = now()
 WHERE id = ANY(%s) AND (last_used_at IS NULL OR last_used_at < now() - interval '30 seconds')
"""


class Scope(StrEnum):
    """What a key is for; each key has one."""

    INGEST = "ingest"  # sending rows
    READ = "read"  # reading the rows of its project


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A row of `api_keys`, without its digest."""

    id: UUID
    project_id: UUID
    project_number: int
    name: str
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    requests_per_second: float | None
    requests_burst: int | None
    rows_per_second: float | None
    rows_burst: int | None
    # Origins (RFC 6454) whose pages may use the key; None when anyone who has it may.
    origins: list[str] | None = None
    scope: Scope = Scope.INGEST

    @property
    def is_limited(self) -> bool:
        """Tell whether the key has any limit."""
        return self.requests_per_second is not None or self.rows_per_second is not None

    @property
    def limits(self) -> KeyLimits:
        """The limits of the key."""
        return KeyLimits(
            _limit_of(self.requests_per_second, self.requests_burst), _limit_of(self.rows_per_second, self.rows_burst)
        )

    def is_valid(self, now: datetime) -> bool:
        """Tell whether the key may be used at `now` (an aware datetime)."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def admits(self, origin: str | None) -> bool:
        """Tell whether the key may be used by who sends this Origin header, None for none."""
        return self.origins is None or origin in self.origins


@dataclass(frozen=True, slots=True)
class _KeyWithDigest(ApiKey):
    digest: bytes = field(kw_only=True)


def generate_raw_key() -> str:
    """Return a new random key."""
    body = SCHEME + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return body + _checksum(body)


def is_well_formed(raw_key: str) -> bool:
    """Tell whether `raw_key` could have been issued: its form and checksum are right."""
    body, checksum = raw_key[:-CHECKSUM_LENGTH], raw_key[-CHECKSUM_LENGTH:]
    return (
        len(body) == len(SCHEME) + RANDOM_LENGTH
        and body.startswith(SCHEME)
        and body.isascii()
        and checksum == _checksum(body)
    )


def digest_of(raw_key: str) -> bytes:
    """Return the 32 bytes that are stored of a key: its SHA-256."""
    return hashlib.sha256(raw_key.encode("utf-8", "surrogateescape")).digest()


def create_key(
    connection: psycopg.Connection,
    project_id: UUID,
    name: str,
    lifetime: timedelta | None = None,
    limits: KeyLimits | None = None,
    origins: Sequence[str] | None = None,
    scope: Scope = Scope.INGEST,
) -> tuple[ApiKey, str]:
    """Store a new key and return it with its raw form, which cannot be had again; `origins` are as in ApiKey."""
    raw_key = generate_raw_key()
    values = {
        "project_id": project_id,
        "name": name,
        "prefix": raw_key[:PREFIX_LENGTH],
        "digest": digest_of(raw_key),
        "lifetime": lifetime,
        "origins": list(origins) if origins else None,
        "scope": scope,
        **_limit_values(limits or KeyLimits()),
    }
    with connection.transaction():
        made = connection.execute(_INSERT, values).fetchone()
        with connection.cursor(row_factory=class_row(ApiKey)) as cursor:
            row = cursor.execute(_SELECT_ONE, made).fetchone()
    assert row is not None  # noqa: S101 - it was just stored
    return row, raw_key


def list_keys(connection: psycopg.Connection, project_id: UUID | None = None) -> list[ApiKey]:
    """Return the keys of a project, or of all projects, oldest first."""
    with connection.cursor(row_factory=class_row(ApiKey)) as cursor:
        return cursor.execute(_SELECT, {"project_id": project_id}).fetchall()


async def lookup_keys(connection: psycopg.AsyncConnection, digests: Collection[bytes]) -> dict[bytes, ApiKey]:
    """Return the keys of those digests that exist, revoked and expired ones too, by digest."""
    async with connection.cursor(row_factory=class_row(_KeyWithDigest)) as cursor:
        rows = await (await cursor.execute(_LOOKUP, (list(digests),))).fetchall()
    return {bytes(row.digest): row for row in rows}


def valid_keys(connection: psycopg.Connection, limit: int) -> dict[bytes, ApiKey]:
    """Return up to `limit` keys that may be used now, those used last first, by digest."""
    with connection.cursor(row_factory=class_row(_KeyWithDigest)) as cursor:
        rows = cursor.execute(_VALID, (limit,)).fetchall()
    return {bytes(row.digest): row for row in rows}


def find_key(connection: psycopg.Connection, reference: str) -> ApiKey:
    """Return the key of that id or prefix. Raises NotFoundError when none or several match."""
    with connection.cursor(row_factory=class_row(ApiKey)) as cursor:
        rows = cursor.execute(_FIND, {"reference": reference}).fetchall()
    if not rows:
        raise NotFoundError(f"there is no key {reference!r}; `seestack-ingest keys list` shows them")
    if len(rows) > 1:
        raise NotFoundError(f"{len(rows)} keys start with {reference!r}; give the id instead")
    return rows[0]


def find_raw_key(connection: psycopg.Connection, raw_key: str) -> ApiKey | None:
    """Return the key of that raw form, a revoked or expired one too; None when there is none."""
    with connection.cursor(row_factory=class_row(_KeyWithDigest)) as cursor:
        return cursor.execute(_LOOKUP, ([digest_of(raw_key)],)).fetchone()


def revoke_key(connection: psycopg.Connection, key: ApiKey) -> ApiKey:
    """Make the key invalid, which cannot be undone, and return its row as it is now."""
    return _change(connection, _REVOKE, {"id": key.id}) or key


def read_limits(connection: psycopg.Connection, key_ids: Collection[UUID]) -> dict[UUID, KeyLimits]:
    """Return the limits of those keys that exist, by id."""
    rows = connection.execute(_LIMITS, (list(key_ids),)).fetchall()
    return {row[0]: KeyLimits(_limit_of(*row[1:3]), _limit_of(*row[3:5])) for row in rows}


def set_limits(connection: psycopg.Connection, key: ApiKey, limits: KeyLimits) -> ApiKey:
    """Replace the limits of the key and return its row as it is now."""
    return _change(connection, _SET_LIMITS, {"id": key.id, **_limit_values(limits)}) or key


def rotate_key(connection: psycopg.Connection, key: ApiKey, overlap: timedelta) -> tuple[ApiKey, str]:
    """Create a successor with the same project, name, limits, origins and scope.

    The old key stays valid for at most `overlap` more.

    Raises KeyRevokedError.
    """
    if key.revoked_at is not None:
        raise KeyRevokedError(f"key {key.prefix}... is revoked; make a new one with `seestack-ingest keys create`")
    with connection.transaction():
        connection.execute(_LIMIT_LIFETIME, {"id": key.id, "lifetime": overlap})
        return create_key(connection, key.project_id, key.name, limits=key.limits, origins=key.origins, scope=key.scope)


async def touch_keys(connection: psycopg.AsyncConnection, key_ids: Collection[UUID]) -> None:
    """Set `last_used_at` of those keys, unless another process did within the last 30 s."""
    await connection.execute(_TOUCH, (list(key_ids),))


def _change(connection: psycopg.Connection, statement: str, values: Mapping[str, object]) -> ApiKey | None:
    """Execute a statement about the key `id`, and return the key as it is then; None when it is gone."""
    with connection.transaction(), connection.cursor(row_factory=class_row(ApiKey)) as cursor:
        cursor.execute(statement.encode(), values)
        return cursor.execute(_SELECT_ONE, (values["id"],)).fetchone()


def _limit_of(per_second: float | None, burst: int | None) -> RateLimit | None:
    return None if per_second is None or burst is None else RateLimit(per_second, burst)


def _limit_values(limits: KeyLimits) -> dict[str, float | None]:
    """Return the columns that hold these limits."""
    requests_per_second, requests_burst = limits.requests or (None, None)
    rows_per_second, rows_burst = limits.rows or (None, None)
    return {
        "requests_per_second": requests_per_second,
        "requests_burst": requests_burst,
        "rows_per_second": rows_per_second,
        "rows_burst": rows_burst,
    }


def _checksum(text: str) -> str:
    number = zlib.crc32(text.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
