-- Bloom filters sized for the rows of 32 pages, and no summaries of ranges in which rows still land (brin_ranges.py).

DROP INDEX http_request_rows_trace, http_request_rows_other_trace;
CREATE INDEX http_request_rows_trace ON http_request_rows
    USING brin (trace uuid_bloom_ops (n_distinct_per_range = 1600, false_positive_rate = 0.01))
    WITH (pages_per_range = 32);
CREATE INDEX http_request_rows_other_trace ON http_request_rows
    USING brin (other_trace text_bloom_ops (n_distinct_per_range = 1600, false_positive_rate = 0.01))
    WITH (pages_per_range = 32);

SELECT brin_desummarize_range(indexrelid, 0)
  FROM pg_inherits
  JOIN pg_index ON indrelid = inhrelid
  JOIN pg_class AS index ON index.oid = indexrelid
  JOIN pg_am ON pg_am.oid = index.relam AND amname = 'brin'
 WHERE inhparent = 'http_request_rows'::regclass;
