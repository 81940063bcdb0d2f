"""Batches that Postgres refused: listed, tried again, discarded."""

from uuid import uuid4

from storage.spool.refused import Retry, discard_refused, list_refused, retry_refused
from storage.spool.spool import Spool
from storage.writing.claims import make_claim
from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_encoding import EncodedBatch
from tests.storage.rows import PROJECT_NUMBER, encoded, make_columns

PROJECT = uuid4()
SPACIOUS = 2**30


def refuse(spool: Spool, batch: EncodedBatch) -> int:
    """Spool a batch, put it aside, and return its position."""
    spool.append([batch])
    spooled = spool.oldest(SPACIOUS)[-1]
    spool.refuse(spooled, "no such direction")
    return spooled.position


def keyed(body: bytes) -> EncodedBatch:
    return HTTP_REQUESTS.encode(PROJECT_NUMBER, make_columns(), make_claim(PROJECT, "key", body))


def test_a_refused_batch_is_listed_whole(spool: Spool) -> None:
    batch = encoded(2)
    position = refuse(spool, batch)
    (refused,) = list_refused(spool.file)
    assert (refused.position, refused.reason, refused.rows) == (position, "no such direction", 2)
    assert (refused.data, refused.form) == (batch.data, HTTP_REQUESTS.form)
    assert refused.spooled_at is not None
    assert refused.spooled_at <= refused.refused_at


def test_a_batch_that_is_tried_again_is_as_it_was(spool: Spool) -> None:
    batch = keyed(b"1")
    position = refuse(spool, batch)
    assert retry_refused(spool.file, position) is Retry.SPOOLED
    assert [spooled.batch for spooled in spool.oldest(SPACIOUS)] == [batch]
    assert spool.status().refused == 0
    assert retry_refused(spool.file, position) is Retry.GONE


def test_a_batch_whose_key_waits_already_is_not_spooled_twice(spool: Spool) -> None:
    position = refuse(spool, keyed(b"1"))
    spool.append([keyed(b"1")])
    assert retry_refused(spool.file, position) is Retry.REPEATED
    assert (spool.status().batches, spool.status().refused) == (1, 0)


def test_a_batch_whose_key_waits_with_another_body_stays_refused(spool: Spool) -> None:
    position = refuse(spool, keyed(b"1"))
    spool.append([keyed(b"2")])
    assert retry_refused(spool.file, position) is Retry.KEY_REUSED
    assert (spool.status().batches, spool.status().refused) == (1, 1)


def test_a_discarded_batch_is_gone(spool: Spool) -> None:
    position = refuse(spool, encoded())
    assert discard_refused(spool.file, position)
    assert not discard_refused(spool.file, position)
    assert list_refused(spool.file) == []
