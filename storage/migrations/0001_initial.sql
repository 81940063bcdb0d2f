-- Projects, their API keys, and the partitioned table of HTTP requests.

CREATE TABLE projects (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name       text NOT NULL UNIQUE CHECK (name <> ''),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id   uuid NOT NULL REFERENCES projects (id),
    name         text NOT NULL,
    prefix       text NOT NULL,
    digest       bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
);

CREATE INDEX api_keys_project_id ON api_keys (project_id);

COMMENT ON COLUMN api_keys.prefix IS 'first characters of the raw key, to recognise it by';
COMMENT ON COLUMN api_keys.digest IS 'SHA-256 of the raw key, which itself is stored nowhere';

CREATE TYPE request_direction AS ENUM ('inbound', 'outbound');

-- Fixed-width columns come first, widest first, so that no row has padding inside.
CREATE TABLE http_requests (
    id                uuid NOT NULL,
    project_id        uuid NOT NULL,
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
    trace_id          text NOT NULL,
    user_id           text,
    error_fingerprint text
) PARTITION BY RANGE ("timestamp");

COMMENT ON COLUMN http_requests.id IS 'UUIDv7 made by the server';
COMMENT ON COLUMN http_requests."timestamp" IS 'when the request happened, as its sender says; the partition key';
COMMENT ON COLUMN http_requests.status_code IS '0 when no response came';

CREATE INDEX http_requests_project_timestamp ON http_requests (project_id, "timestamp");
CREATE INDEX http_requests_trace ON http_requests USING hash (trace_id);

-- Days near today get partitions of their own (partitions.py). All other rows land in the default partition, so
-- invented dates never make a partition. It is split in two: `older` can only ever hold days before this schema
-- was made, and says so in a CHECK, so that adding a day scans the few rows of `ahead` and never those of `older`.
DO $$
DECLARE
    first_day timestamptz := (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '7 days') AT TIME ZONE 'UTC';
BEGIN
    CREATE TABLE http_requests_default PARTITION OF http_requests DEFAULT PARTITION BY RANGE ("timestamp");
    EXECUTE format(
        'CREATE TABLE http_requests_older PARTITION OF http_requests_default (CHECK ("timestamp" < %L)) '
        'FOR VALUES FROM (MINVALUE) TO (%L)', first_day, first_day);
    EXECUTE format(
        'CREATE TABLE http_requests_ahead PARTITION OF http_requests_default FOR VALUES FROM (%L) TO (MAXVALUE)',
        first_day);
END
$$;
