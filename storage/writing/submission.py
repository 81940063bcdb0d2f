"""A batch between being taken and being durable."""

import asyncio

from storage.errors import StorageError
from storage.writing.destination import Target
from storage.writing.row_encoding import EncodedBatch


class Submission:
    """A batch that is submitted and may not be stored yet."""

    __slots__ = ("_error", "_settled", "batch", "is_settled", "target")

    def __init__(self, batch: EncodedBatch, settled: "asyncio.Future[None]") -> None:
        self.batch = batch
        self.target: Target | None = None  # of the writer that has taken it
        # Never raises, so that it need not be awaited.
        self._settled = settled
        self._error: StorageError | None = None
        self.is_settled = False

    @property
    def is_withdrawn(self) -> bool:
        """Tell whether the submitter does not wait any more; the batch need not be written then."""
        return self._settled.cancelled()

    async def stored(self) -> int:
        """Wait until the batch is durable and return its number of rows; being cancelled withdraws the batch.

        Raises StorageUnavailableError or BatchRefusedError.
        """
        await self._settled
        if self._error is not None:
            raise self._error
        return self.batch.rows

    def settle(self, error: StorageError | None) -> None:
        """Tell the submitter that the batch is durable, or why it is not."""
        self.is_settled = True
        self._error = error
        if not self._settled.done():
            self._settled.set_result(None)
