-- Servers of the version before ask the partition `http_requests_ahead` for the first day that they may make partitions
-- of. The table is a view now, so there must be none: this one says so, where such servers may be. Nothing stores in it.

DO $$
BEGIN
    IF EXISTS (SELECT FROM schema_migrations WHERE version = 1 AND applied_at < now()) THEN
        ALTER TABLE IF EXISTS http_requests_ahead RENAME TO http_requests_ahead_before;
        CREATE TABLE http_requests_of_older_servers ("timestamp" timestamptz) PARTITION BY RANGE ("timestamp");
        CREATE TABLE http_requests_ahead PARTITION OF http_requests_of_older_servers
           FOR VALUES FROM ('9999-12-31Z') TO (MAXVALUE);
    END IF;
END
$$;
