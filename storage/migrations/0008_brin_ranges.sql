-- A new index has a summary of its first range, in which rows are still to land (brin_ranges.py).

SELECT brin_desummarize_range(indexrelid, 0)
  FROM pg_inherits
  JOIN pg_index ON indrelid = inhrelid
  JOIN pg_class AS index ON index.oid = indexrelid
  JOIN pg_am ON pg_am.oid = index.relam AND amname = 'brin'
 WHERE inhparent = 'http_request_rows'::regclass;
