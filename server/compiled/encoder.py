"""The choice between compiled code and reference, and the compiled code as the service calls it."""

import time
from typing import NamedTuple

from server.compiled.tables import batch_numbers, column_entries, field_entries, method_bytes, status_codes
from server.contract.rules import DIRECTIONS
from server.contract.timestamps import EARLIEST_US, END_US
from server.contract.validation import MAX_ITEMS
from server.settings import Compiled
from storage.keys.api_keys import ApiKey
from storage.writing.row_encoding import first_id

try:
    from server.compiled.batch_encoder import BatchEncoder
except ImportError:  # it is not built where there is no C compiler
    _IS_BUILT = False
else:
    _IS_BUILT = True


class CompiledBatch(NamedTuple):
    """A batch that keeps all rules: its rows in binary COPY form, and its idempotency key as it was sent."""

    rows: int
    data: bytes
    idempotency_key: str | None


class CompiledEncoder:
    """Checks and encodes batches. Only what surely is right, and in a common form, is answered; the rest is None."""

    def __init__(self) -> None:
        self._encoder = make_encoder(BatchEncoder)

    def encode_json(self, body: bytes, key: ApiKey) -> CompiledBatch | None:
        """Return a JSON body that was sent with `key` as rows; None when the reference must look."""
        encoded = self._encoder.encode_json(body, key.project_id.bytes, key.project_number, *_first_id())
        return None if encoded is None else CompiledBatch(*encoded)

    def encode_message(self, message: bytes, key: ApiKey) -> CompiledBatch | None:
        """Return a protobuf message that was sent with `key` as rows; None when the reference must look."""
        encoded = self._encoder.encode_message(message, key.project_id.bytes, key.project_number, *_first_id())
        return None if encoded is None else CompiledBatch(*encoded)


def make_encoder(kind: "type[BatchEncoder]") -> "BatchEncoder":
    """Return what the tables make of the class of the compiled module. Raises KeyError for what it does not know."""
    return kind(
        field_entries(),
        column_entries(),
        numbers=batch_numbers(),
        most_items=MAX_ITEMS,
        directions=DIRECTIONS,
        methods=method_bytes(),
        status_codes=status_codes(),
        instants=(EARLIEST_US, END_US),
    )


def is_chosen(setting: Compiled) -> bool:
    """Tell whether batches are encoded by compiled code: it is built, and wanted."""
    return _IS_BUILT and setting is Compiled.AUTO


def choose_encoder(setting: Compiled) -> CompiledEncoder | None:
    """Return what encodes by compiled code, None when it is not built or not wanted."""
    return CompiledEncoder() if is_chosen(setting) else None


def describe_choice(setting: Compiled) -> str:
    """Return one line for people."""
    if setting is Compiled.OFF:
        return "off: batches are checked and encoded by pure Python, which is slower"
    if not _IS_BUILT:
        return "not built: batches are checked and encoded by pure Python, which is slower; it takes a C compiler"
    return "batches are checked and encoded by compiled code"


def _first_id() -> tuple[int, int]:
    return first_id(time.time_ns() // 1_000_000)
