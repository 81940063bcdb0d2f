"""Submitting batches to a writer and waiting for what becomes of them."""

from concurrent.futures import Future
from typing import TypeAlias

from storage.errors import StorageError
from storage.http_requests import EncodedBatch
from storage.writer import EventWriter, Submission

Stored: TypeAlias = "Future[int]"


def submit(writer: EventWriter, batch: EncodedBatch) -> Stored:
    """Queue a batch and return a future of the number of rows stored, durable once it is done."""
    stored: Stored = Future()
    writer.submit(batch, stored, resolve)
    return stored


def submit_withdrawn(writer: EventWriter, batch: EncodedBatch) -> None:
    """Queue a batch and take it back."""
    stored: Stored = Future()
    writer.submit(batch, stored, resolve).is_withdrawn = True


def resolve(submissions: "list[Submission[Stored]]") -> None:
    """Finish the futures of what was flushed."""
    for submission in submissions:
        try:
            rows = submission.rows_stored()
        except StorageError as error:
            submission.waiter.set_exception(error)
        else:
            submission.waiter.set_result(rows)
