-- Both columns of a trace id in one index: a row costs less, and ranges are read once for their summaries.

DROP INDEX http_request_rows_trace, http_request_rows_other_trace;

CREATE INDEX http_request_rows_trace ON http_request_rows USING brin (
    trace uuid_bloom_ops (n_distinct_per_range = 1600, false_positive_rate = 0.01),
    other_trace text_bloom_ops (n_distinct_per_range = 1600, false_positive_rate = 0.01)
) WITH (pages_per_range = 32);

-- A new index has a summary of the range where the next rows land (brin_ranges.py).
SELECT brin_desummarize_range(inhrelid, greatest(0, pg_relation_size(indrelid) / current_setting('block_size')::bigint - 1))
  FROM pg_inherits JOIN pg_index ON indexrelid = inhrelid
 WHERE inhparent = 'http_request_rows_trace'::regclass;
