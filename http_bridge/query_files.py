"""Exports as files: CSV, JSON lines, and Parquet, made part by part, so that any size takes the same memory."""

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from server.errors import ValidationFailedError
from server.query.answers import Item

NAMES = msgspec.structs.fields(Item)
# A spreadsheet runs cells that begin so (OWASP, CSV injection); in front of the quotation mark they are text.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NO_PARQUET = "parquet needs `pip install 'seestack-ingest[parquet]'` on the server; csv and jsonl need nothing"


class File(Protocol):
    """A file that is written from items; each method returns the bytes that follow."""

    content_type: str

    def begin(self) -> bytes:
        """Return what stands before the first item."""

    def add(self, items: Sequence[Item]) -> bytes:
        """Return what some items are."""

    def end(self) -> bytes:
        """Return what stands behind the last item."""


class CsvFile:
    """CSV (RFC 4180) with a head line."""

    content_type = "text/csv; charset=utf-8; header=present"

    def begin(self) -> bytes:
        """See File."""
        return _to_csv([[field.encode_name for field in NAMES]])

    def add(self, items: Sequence[Item]) -> bytes:
        """See File."""
        return _to_csv([[_to_cell(value) for value in msgspec.structs.astuple(item)] for item in items])

    def end(self) -> bytes:
        """See File."""
        return b""


class JsonLinesFile:
    """An object a line, each as an item of the list."""

    content_type = "application/jsonl"

    def begin(self) -> bytes:
        """See File."""
        return b""

    def add(self, items: Sequence[Item]) -> bytes:
        """See File."""
        return msgspec.json.Encoder().encode_lines(items)

    def end(self) -> bytes:
        """See File."""
        return b""


class ParquetFile:
    """Apache Parquet, a row group for each part."""

    content_type = "application/vnd.apache.parquet"

    def __init__(self) -> None:
        """Raises ValidationFailedError when the library is not installed."""
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise ValidationFailedError({"format": _NO_PARQUET}) from None
        types = {str: pyarrow.string(), int: pyarrow.int64(), bool: pyarrow.bool_()}
        moment = pyarrow.timestamp("us", tz="UTC")
        self._pyarrow = pyarrow
        self._schema = pyarrow.schema(
            [
                (field.encode_name, moment if field.type is datetime else types.get(field.type, types[str]))
                for field in NAMES
            ]
        )
        self._written = _Written()
        self._writer = pyarrow.parquet.ParquetWriter(self._written, self._schema)

    def begin(self) -> bytes:
        """See File."""
        return self._written.take()

    def add(self, items: Sequence[Item]) -> bytes:
        """See File."""
        columns = zip(*map(msgspec.structs.astuple, items), strict=True)
        arrays = [self._pyarrow.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(self._pyarrow.Table.from_arrays(arrays, schema=self._schema))
        return self._written.take()

    def end(self) -> bytes:
        """See File."""
        self._writer.close()
        return self._written.take()


class _Written(io.RawIOBase):
    """What was written to a file since it was taken the last time; positions are those in the whole file."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._position += len(self._parts[-1])
        return len(self._parts[-1])

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


FILES: dict[str, type[File]] = {"csv": CsvFile, "jsonl": JsonLinesFile, "parquet": ParquetFile}


def _to_csv(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _to_cell(value: Any) -> object:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case str() if value.startswith(_FORMULA):
            return f"'{value}"
    return value
