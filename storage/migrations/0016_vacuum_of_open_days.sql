-- Autovacuum keeps BRIN indexes from getting summaries while it works, and without these a pass of the rollups reads all
-- newer rows. Rows of a day that is not closed are not vacuumed only because there are many (partitions.py).

DO $$
DECLARE
    partition regclass;
    lock_timeout text := current_setting('lock_timeout');
BEGIN
    -- Nobody queues behind this lock. An autovacuum gives way to it, but only after deadlock_timeout, 1 s.
    PERFORM set_config('lock_timeout', '5s', true);
    FOR partition IN
        SELECT of_table.inhrelid
          FROM pg_inherits AS of_table
          JOIN pg_index ON indrelid = of_table.inhrelid
          JOIN pg_inherits AS of_index ON of_index.inhrelid = indexrelid
         WHERE of_table.inhparent = 'http_request_rows'::regclass
           AND of_index.inhparent = 'http_request_rows_project_timestamp'::regclass
           AND obj_description(indexrelid, 'pg_class') IS DISTINCT FROM 'rebuilt after its day had ended'
    LOOP
        EXECUTE format('ALTER TABLE %s SET (autovacuum_vacuum_insert_threshold = -1)', partition);
    END LOOP;
    PERFORM set_config('lock_timeout', lock_timeout, true);
END
$$;
