"""The columns of `http_requests` as they are written; the migrations make the table, and a test compares the two."""

from storage.writing.row_encoding import Column, RowFormat

HTTP_REQUESTS = RowFormat(
    "http_requests",
    (
        Column("timestamp", "timestamptz"),
        Column("duration_ms", "bigint"),
        Column("request_size", "bigint"),
        Column("response_size", "bigint"),
        Column("status_code", "smallint"),
        # A sender calls few hosts and sees few errors, so these values repeat.
        Column("direction", "request_direction", repeats=True),
        Column("method", "text", repeats=True),
        Column("host", "text", repeats=True),
        Column("path", "text"),
        Column("trace_id", "text"),
        Column("user_id", "text", nullable=True),
        Column("error_fingerprint", "text", nullable=True, repeats=True),
    ),
)
