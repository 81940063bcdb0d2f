"""The interface of the compiled module."""

from collections.abc import Iterable, Sequence

from server.compiled.tables import ColumnEntry, FieldEntry

class BatchEncoder:
    """Encodes batches of one table of fields into rows of one form."""

    def __init__(
        self,
        fields: Sequence[FieldEntry],
        columns: Sequence[ColumnEntry],
        *,
        numbers: tuple[int, int, int],
        most_items: int,
        directions: tuple[str, str],
        methods: tuple[bytes, bytes],
        status_codes: Iterable[int],
        instants: tuple[int, int],
    ) -> None:
        """Take over the tables.

        `numbers` are protobuf's of a batch: project id, items, idempotency key. `methods` are the bytes that a method
        may have, and as which each is stored. `instants` are the earliest and the end of all, in microseconds since
        1970.

        Raises ValueError, KeyError for what the compiled code does not know.
        """

    def encode_json(
        self, body: bytes, project_id: bytes, project: int, id_upper: int, id_lower: int
    ) -> tuple[int, bytes, str | None] | None:
        """Return the rows of a JSON body: their number, their bytes, and the batch's idempotency key as it was sent.

        None means that the reference must look, and says nothing of the batch. `project_id` are the 16 bytes of the
        UUID that the batch must name, `project` is its number, the others are the halves of the first row's id.
        """

    def encode_message(
        self, message: bytes, project_id: bytes, project: int, id_upper: int, id_lower: int
    ) -> tuple[int, bytes, str | None] | None:
        """Return the rows of a protobuf message, as `encode_json` does."""
