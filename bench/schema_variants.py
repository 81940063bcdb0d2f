"""The alternatives to the schema of `http_request_rows` that bench.schema measures, each different in one thing."""

import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from storage.writing.http_requests import HTTP_REQUESTS
from storage.writing.row_encoding import Values

# Encodes a batch of the project of that number as rows of binary COPY.
Encode = Callable[[int, Values], bytes]

_COPY = HTTP_REQUESTS.form.copy_statement
_REBUILD = "REINDEX INDEX CONCURRENTLY http_request_rows_day_project_timestamp_idx"
_POSTGRES_EPOCH_US = 946_684_800_000_000


def _present(project: int, columns: Values) -> bytes:
    return HTTP_REQUESTS.encode(project, columns).data


def _with_traces(change: Callable[[str], str]) -> Encode:
    return lambda project, columns: _present(
        project, {**columns, "trace_id": [change(trace) for trace in columns["trace_id"]]}
    )


def _with_long_paths(project: int, columns: Values) -> bytes:
    return _present(project, {**columns, "path": [f"{path}/accounts/{uuid.uuid4()}" for path in columns["path"]]})


def _before(project: int, columns: Values) -> bytes:
    """Encode for the table of version 0.1.0: a uuid for the project, wide integers, the trace as text."""
    rows = []
    for values in zip(*(columns[name] for name in _COLUMNS_BEFORE), strict=True):
        at, *numbers, status = values[:5]
        at -= _POSTGRES_EPOCH_US
        fixed = struct.pack(
            ">h i16s i16s iq iq iq iq iq ih",
            15, 16, uuid.uuid4().bytes, 16, uuid.UUID(int=project).bytes, 8, at, 8, at,
            8, numbers[0], 8, numbers[1], 8, numbers[2], 2, status,
        )  # fmt: skip
        rows.append(fixed + b"".join(map(_text, values[5:])))
    return b"".join(rows)


def _text(value: str | None) -> bytes:
    if value is None:
        return struct.pack(">i", -1)
    data = value.encode()
    return struct.pack(">i", len(data)) + data


_COLUMNS_BEFORE = (
    "timestamp", "duration_ms", "request_size", "response_size", "status_code",
    "direction", "method", "host", "path", "trace_id", "user_id", "error_fingerprint",
)  # fmt: skip
_COPY_BEFORE = """
COPY http_request_rows (id, project, "timestamp", received_at, duration_ms, request_size, response_size, status_code,
                        direction, method, host, path, trace, user_id, error_fingerprint) FROM STDIN (FORMAT BINARY)
"""
_TABLE_BEFORE = """
DROP TABLE http_request_rows CASCADE;
CREATE TABLE http_request_rows (
    id                uuid NOT NULL,
    project           uuid NOT NULL,
    "timestamp"       timestamptz NOT NULL,
    received_at       timestamptz NOT NULL,
    duration_ms       bigint NOT NULL,
    request_size      bigint NOT NULL,
    response_size     bigint NOT NULL,
    direction         request_direction NOT NULL,
    status_code       smallint NOT NULL,
    method            text NOT NULL,
    host              text NOT NULL,
    path              text NOT NULL,
    trace             text NOT NULL,
    user_id           text,
    error_fingerprint text
) PARTITION BY RANGE ("timestamp");
CREATE INDEX http_request_rows_project_timestamp ON http_request_rows (project, "timestamp");
CREATE INDEX http_request_rows_trace ON http_request_rows USING hash (trace);
"""
_READS_BEFORE = {"trace": b'SELECT * FROM http_request_rows WHERE trace = %(trace)s ORDER BY "timestamp"'}


@dataclass(frozen=True)
class Variant:
    """A change of the empty schema (SQL), of how rows are sent, or of what is done to a day that is over (SQL).

    `reads` replaces the queries that are measured.
    """

    name: str
    change: str = ""
    encode: Encode = _present
    copy_statement: str = _COPY
    closing: Sequence[str] = (_REBUILD,)
    reads: Mapping[str, bytes] = field(default_factory=dict)
    is_summarized_from_the_start: bool = False


_NO_BLOOM = "DROP INDEX http_request_rows_trace;"
_NO_INDEXES = _NO_BLOOM + "DROP INDEX http_request_rows_project_timestamp, http_request_rows_transaction;"
_BLOOM_128 = _NO_BLOOM + "CREATE INDEX ON http_request_rows USING brin (trace uuid_bloom_ops);"
_TWO_BLOOMS = (
    _NO_BLOOM
    + """
CREATE INDEX ON http_request_rows USING brin (
    trace uuid_bloom_ops (n_distinct_per_range = 1600, false_positive_rate = 0.01)) WITH (pages_per_range = 32);
CREATE INDEX ON http_request_rows USING brin (
    other_trace text_bloom_ops (n_distinct_per_range = 1600, false_positive_rate = 0.01)) WITH (pages_per_range = 32);
"""
)
# Rows whose hashes are the same share an entry: of the whole hash, only rows of the same trace do.
_BTREE = "CREATE INDEX CONCURRENTLY ON http_request_rows_day ({}) WHERE trace IS NOT NULL"
_HASH_64, _HASH_20 = "uuid_hash_extended(trace, 0)", "(uuid_hash(trace) & 1048575)"


def _trace_by(hashed: str) -> Mapping[str, bytes]:
    parameter = hashed.replace("trace", "%(trace)s::uuid")
    query = "SELECT * FROM http_request_rows WHERE {} = {} AND trace = %(trace)s::uuid"
    return {"trace": query.format(hashed, parameter).encode()}


VARIANTS = (
    Variant("as it is"),
    Variant("version 0.1.0", _TABLE_BEFORE, _before, _COPY_BEFORE, (), _READS_BEFORE),
    Variant("no indexes", _NO_INDEXES, closing=()),
    Variant("COPY gathers 1,000 rows", copy_statement=_COPY.partition(" WHERE ")[0]),
    Variant("BRINs summarized from the start", is_summarized_from_the_start=True),
    Variant("bloom filters of 128 pages", _BLOOM_128),
    Variant("an index for each column of traces", _TWO_BLOOMS),
    Variant("index by time not rebuilt", closing=()),
    Variant(
        "traces: btree, 64 bits of hash",
        _NO_BLOOM,
        closing=(_REBUILD, _BTREE.format(_HASH_64)),
        reads=_trace_by(_HASH_64),
    ),
    Variant(
        "traces: btree, 20 bits of hash",
        _NO_BLOOM,
        closing=(_REBUILD, _BTREE.format(_HASH_20)),
        reads=_trace_by(_HASH_20),
    ),
    Variant("rows: traces of other forms", encode=_with_traces(lambda trace: f"req-{trace[:12]}")),
    Variant("rows: long paths", encode=_with_long_paths),
)
