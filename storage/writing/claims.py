"""Idempotency keys: a batch whose key is stored already is not stored again.

A key is written in the transaction of the batch's rows, so that there are either both or neither.
"""

import struct
from collections.abc import Collection, Iterable
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID

import psycopg

CLAIMS_TABLE = "idempotency_keys"
COPY_CLAIMS = "COPY {table} (id, body, project) FROM STDIN (FORMAT BINARY)"
DIGEST_BYTES = 16

_ROW = struct.Struct(">h i16s i16s ii")
_FIND = "SELECT id, body FROM {table} WHERE id = ANY(%s)"
_FORGET = "DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'"


class Claim(NamedTuple):
    """An idempotency key and the request body that came with it, as digests."""

    id: bytes
    body: bytes


def make_claim(project_id: UUID, key: str, body: bytes) -> Claim:
    """Return the claim of a request: keys are the project's own."""
    return Claim(
        blake2b(project_id.bytes + key.encode(), digest_size=DIGEST_BYTES).digest(),
        blake2b(body, digest_size=DIGEST_BYTES).digest(),
    )


def encode_claims(claims: Iterable[tuple[Claim, int]]) -> bytes:
    """Return the rows of COPY_CLAIMS, each with the number of its project, without header and trailer.

    They are in the order of their ids: of two flushes with the same keys, one waits for the other, never both.
    """
    return b"".join(
        [
            _ROW.pack(3, DIGEST_BYTES, claim.id, DIGEST_BYTES, claim.body, 4, project)
            for claim, project in sorted(claims)
        ]
    )


async def find_bodies(
    connection: psycopg.AsyncConnection, ids: Collection[bytes], table: str = CLAIMS_TABLE
) -> dict[bytes, bytes]:
    """Return the bodies of claims that are stored in a table, by the claims' ids."""
    values = ([UUID(bytes=value) for value in ids],)
    rows = await (await connection.execute(_FIND.format(table=table).encode(), values)).fetchall()
    return {identifier.bytes: body.bytes for identifier, body in rows}


def forget_claims(connection: psycopg.Connection) -> int:
    """Delete claims that are older than a day, and return how many there were."""
    return connection.execute(_FORGET).rowcount
