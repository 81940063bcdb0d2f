"""The alternatives to the schema of `http_requests` that bench.schema measures, each different in one thing."""

from collections.abc import Callable
from dataclasses import dataclass

from storage.writing.row_encoding import Values

Recode = Callable[[Values], Values]


def _unchanged(columns: Values) -> Values:
    return columns


def _direction_initials(columns: Values) -> Values:
    return {**columns, "direction": [value[0] for value in columns["direction"]]}


def _empty_for_none(columns: Values) -> Values:
    return {
        name: [value or "" for value in values] if name in ("user_id", "error_fingerprint") else values
        for name, values in columns.items()
    }


@dataclass(frozen=True)
class Variant:
    """A change of the empty schema (SQL), of the rows so that they fit, or of a day that is over (SQL)."""

    name: str
    change: str = ""
    recode: Recode = _unchanged
    closing: str = ""


DROP_TIME_INDEX = "DROP INDEX http_requests_project_timestamp;"
DROP_TRACE_INDEX = "DROP INDEX http_requests_trace;"

TIME_DESCENDING = 'CREATE INDEX ON http_requests (project_id, "timestamp" DESC);'
TIME_FULL_PAGES = 'CREATE INDEX ON http_requests (project_id, "timestamp") WITH (fillfactor = 100);'
TIME_COVERING = 'CREATE INDEX ON http_requests (project_id, "timestamp") INCLUDE (status_code, duration_ms);'
TIME_COVERING_HOST = 'CREATE INDEX ON http_requests (project_id, "timestamp") INCLUDE (status_code, duration_ms, host);'
TIME_BRIN = 'CREATE INDEX ON http_requests USING brin ("timestamp");'
TRACE_BTREE = "CREATE INDEX ON http_requests (trace_id);"
# The planner takes bloom filters for as dear as reading the whole table, so a reader must forbid it the latter.
TRACE_BLOOM = """
CREATE INDEX ON http_requests USING brin (trace_id text_bloom_ops);
SET enable_seqscan = off;
"""
# A unique index of a partitioned table must hold the partition key.
PRIMARY_KEY = 'ALTER TABLE http_requests ADD PRIMARY KEY (id, "timestamp");'

DIRECTION_AS_TEXT = "ALTER TABLE http_requests ALTER direction TYPE text;"
DIRECTION_AS_CHAR = 'ALTER TABLE http_requests ALTER direction TYPE "char" USING direction::text::"char";'
NO_NULLS = "ALTER TABLE http_requests ALTER user_id SET NOT NULL, ALTER error_fingerprint SET NOT NULL;"

# As the JSON document orders them, with the server's own columns where they are often put.
COLUMNS_AS_SENT = """
DROP TABLE http_requests;
CREATE TABLE http_requests (
    id                uuid NOT NULL,
    project_id        uuid NOT NULL,
    trace_id          text NOT NULL,
    direction         request_direction NOT NULL,
    method            text NOT NULL,
    host              text NOT NULL,
    path              text NOT NULL,
    status_code       smallint NOT NULL,
    duration_ms       bigint NOT NULL,
    request_size      bigint NOT NULL,
    response_size     bigint NOT NULL,
    user_id           text,
    error_fingerprint text,
    "timestamp"       timestamptz NOT NULL,
    received_at       timestamptz NOT NULL
) PARTITION BY RANGE ("timestamp");
CREATE INDEX http_requests_project_timestamp ON http_requests (project_id, "timestamp");
CREATE INDEX http_requests_trace ON http_requests USING hash (trace_id);
"""

REBUILD_INDEXES = "REINDEX TABLE http_requests_day;"
SORT_ROWS = "CLUSTER http_requests_day USING http_requests_day_project_id_timestamp_idx;"
SORTED_BRINS = (
    'CREATE INDEX ON http_requests USING brin (project_id, "timestamp") WITH (pages_per_range = 16);' + TRACE_BLOOM
)

VARIANTS = (
    Variant("present"),
    Variant("no indexes", DROP_TIME_INDEX + DROP_TRACE_INDEX),
    Variant("time: BRIN, no btree", DROP_TIME_INDEX + TIME_BRIN),
    Variant("time: BRIN in addition", TIME_BRIN),
    Variant("time: descending", DROP_TIME_INDEX + TIME_DESCENDING),
    Variant("time: fillfactor 100", DROP_TIME_INDEX + TIME_FULL_PAGES),
    Variant("time: covers status, duration", DROP_TIME_INDEX + TIME_COVERING),
    Variant("time: covers these and host", DROP_TIME_INDEX + TIME_COVERING_HOST),
    Variant("trace: no index", DROP_TRACE_INDEX),
    Variant("trace: btree", DROP_TRACE_INDEX + TRACE_BTREE),
    Variant("trace: bloom filters, forced", DROP_TRACE_INDEX + TRACE_BLOOM),
    Variant("id: primary key", PRIMARY_KEY),
    Variant("direction: text", DIRECTION_AS_TEXT),
    Variant('direction: "char"', DIRECTION_AS_CHAR, _direction_initials),
    Variant("columns: in order of the JSON", COLUMNS_AS_SENT),
    Variant("columns: '' in place of NULL", NO_NULLS, _empty_for_none),
    Variant("closed day: indexes rebuilt", closing=REBUILD_INDEXES),
    Variant("closed day: no trace index", closing=DROP_TRACE_INDEX),
    Variant("closed day: bloom filters, forced", closing=DROP_TRACE_INDEX + TRACE_BLOOM),
    Variant("closed day: sorted, only BRINs", closing=SORT_ROWS + DROP_TIME_INDEX + DROP_TRACE_INDEX + SORTED_BRINS),
)
