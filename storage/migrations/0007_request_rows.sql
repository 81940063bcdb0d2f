-- Rows that cost less to write and to keep: projects and traces as numbers, narrow columns, one level of partitions.

ALTER TABLE projects ADD COLUMN number integer GENERATED ALWAYS AS IDENTITY UNIQUE;

COMMENT ON COLUMN projects.number IS 'what rows have of their project';

ALTER TABLE http_requests RENAME TO http_requests_before;

-- Fixed-width columns come first, widest first, so that no row has padding inside.
CREATE TABLE http_request_rows (
    id                 uuid NOT NULL,
    "timestamp"        timestamptz NOT NULL,
    transaction        bigint NOT NULL DEFAULT txid_current(),
    project            integer NOT NULL,
    duration_ms        integer,
    request_size       integer,
    response_size      integer,
    status_code        smallint NOT NULL,
    is_inbound         boolean NOT NULL,
    trace_is_dashed    boolean NOT NULL DEFAULT false,
    trace              uuid,
    method             text NOT NULL,
    host               text NOT NULL,
    path               text NOT NULL,
    other_trace        text,
    user_id            text,
    error_fingerprint  text,
    long_duration_ms   bigint,
    long_request_size  bigint,
    long_response_size bigint
) PARTITION BY RANGE ("timestamp");

COMMENT ON COLUMN http_request_rows.id IS 'UUIDv7 made by the server: its first 48 bits are when it received the row';
COMMENT ON COLUMN http_request_rows."timestamp" IS 'when the request happened, as its sender says; the partition key';
COMMENT ON COLUMN http_request_rows.transaction IS 'what stored the row: rows of transactions below pg_snapshot_xmin are final';
COMMENT ON COLUMN http_request_rows.project IS 'number of the project';
COMMENT ON COLUMN http_request_rows.status_code IS '0 when no response came';
COMMENT ON COLUMN http_request_rows.trace IS 'a trace id of 32 lower-case hex digits, or a UUID in lower case';
COMMENT ON COLUMN http_request_rows.trace_is_dashed IS 'whether the trace id came as a UUID, with dashes';
COMMENT ON COLUMN http_request_rows.other_trace IS 'any other trace id';
COMMENT ON COLUMN http_request_rows.long_duration_ms IS 'a duration of 2^31 ms or more; sizes likewise';

CREATE INDEX http_request_rows_project_timestamp ON http_request_rows (project, "timestamp");
CREATE INDEX http_request_rows_trace ON http_request_rows USING brin (
    trace uuid_bloom_ops (n_distinct_per_range = 1600, false_positive_rate = 0.01)) WITH (pages_per_range = 32);
CREATE INDEX http_request_rows_other_trace ON http_request_rows USING brin (
    other_trace text_bloom_ops (n_distinct_per_range = 1600, false_positive_rate = 0.01)) WITH (pages_per_range = 32);
CREATE INDEX http_request_rows_transaction ON http_request_rows USING brin (transaction);

-- Days near today get partitions of their own (partitions.py). Invented dates never make one: those before this
-- schema land in `older`, all others in the default partition `ahead`, whose few rows are scanned when a day is added.
DO $$
DECLARE
    first_day timestamptz := (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '7 days') AT TIME ZONE 'UTC';
    first_day_before timestamptz := (
        SELECT (regexp_match(pg_get_expr(relpartbound, oid), 'FROM \(''([^'']+)''\)'))[1]::timestamptz
          FROM pg_class WHERE oid = 'http_requests_ahead'::regclass
    );
BEGIN
    EXECUTE format('CREATE TABLE http_request_rows_older PARTITION OF http_request_rows FOR VALUES FROM (MINVALUE) TO (%L)',
                   least(first_day, first_day_before));
    CREATE TABLE http_request_rows_ahead PARTITION OF http_request_rows DEFAULT;
END
$$;

-- What is stored, whether it is moved or not. Nothing counts the rows that are not moved yet as final.
CREATE VIEW readable_rows AS SELECT * FROM http_request_rows;

-- The rows as people, and servers of earlier versions, know them. Numbers outside of `projects` show no project.
CREATE VIEW http_requests_moved AS
SELECT stored.id,
       projects.id AS project_id,
       stored."timestamp",
       to_timestamp(('x0000' || encode(substr(uuid_send(stored.id), 1, 6), 'hex'))::bit(64)::bigint / 1000.0) AS received_at,
       coalesce(stored.duration_ms, stored.long_duration_ms) AS duration_ms,
       coalesce(stored.request_size, stored.long_request_size) AS request_size,
       coalesce(stored.response_size, stored.long_response_size) AS response_size,
       CASE WHEN stored.is_inbound THEN 'inbound'::request_direction ELSE 'outbound' END AS direction,
       stored.status_code, stored.method, stored.host, stored.path,
       CASE WHEN stored.trace IS NULL THEN stored.other_trace
            WHEN stored.trace_is_dashed THEN stored.trace::text
            ELSE replace(stored.trace::text, '-', '') END AS trace_id,
       stored.user_id, stored.error_fingerprint
  FROM http_request_rows AS stored
  LEFT JOIN projects ON projects.number = stored.project;

CREATE VIEW http_requests AS SELECT * FROM http_requests_moved;

COMMENT ON VIEW http_requests IS 'http_request_rows as they were sent, and what is not yet moved there from http_requests_before';

CREATE FUNCTION store_http_request() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    longest CONSTANT integer := 2147483647;
    is_dashed CONSTANT boolean := NEW.trace_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$';
    is_short CONSTANT boolean := is_dashed OR NEW.trace_id ~ '^[0-9a-f]{32}$';
    number CONSTANT integer := (SELECT projects.number FROM projects WHERE projects.id = NEW.project_id);
BEGIN
    IF number IS NULL THEN
        RAISE foreign_key_violation USING MESSAGE = format('there is no project %s', NEW.project_id);
    END IF;
    INSERT INTO http_request_rows (
        id, project, "timestamp", duration_ms, request_size, response_size, status_code, is_inbound,
        trace_is_dashed, trace, method, host, path, other_trace, user_id, error_fingerprint,
        long_duration_ms, long_request_size, long_response_size
    ) VALUES (
        NEW.id, number, NEW."timestamp",
        CASE WHEN NEW.duration_ms <= longest THEN NEW.duration_ms END,
        CASE WHEN NEW.request_size <= longest THEN NEW.request_size END,
        CASE WHEN NEW.response_size <= longest THEN NEW.response_size END,
        NEW.status_code, NEW.direction = 'inbound', is_dashed, CASE WHEN is_short THEN NEW.trace_id::uuid END,
        NEW.method, NEW.host, NEW.path, CASE WHEN NOT is_short THEN NEW.trace_id END, NEW.user_id, NEW.error_fingerprint,
        CASE WHEN NEW.duration_ms > longest THEN NEW.duration_ms END,
        CASE WHEN NEW.request_size > longest THEN NEW.request_size END,
        CASE WHEN NEW.response_size > longest THEN NEW.response_size END
    );
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION store_http_request IS 'stores what servers of earlier versions, and their spools, send as http_requests';

CREATE TRIGGER store INSTEAD OF INSERT ON http_requests FOR EACH ROW EXECUTE FUNCTION store_http_request();

-- Who might use the table may use what takes its place. It stays beside that until its rows are moved.
DO $$
DECLARE
    granted record;
BEGIN
    FOR granted IN
        SELECT acl.grantee, acl.privilege_type, relation.name
          FROM pg_class, aclexplode(relacl) AS acl, unnest(ARRAY['http_requests', 'http_request_rows', 'readable_rows']) AS relation (name)
         WHERE oid = 'http_requests_before'::regclass AND acl.privilege_type IN ('SELECT', 'INSERT')
    LOOP
        EXECUTE format('GRANT %s ON %I TO %s', granted.privilege_type, granted.name,
                       CASE granted.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(granted.grantee)) END);
    END LOOP;
    IF EXISTS (SELECT FROM http_requests_before) THEN
        CREATE OR REPLACE VIEW http_requests AS
            SELECT * FROM http_requests_moved UNION ALL SELECT * FROM http_requests_before;
        CREATE OR REPLACE VIEW readable_rows AS
            SELECT * FROM http_request_rows
             UNION ALL
            SELECT stored.id, stored."timestamp", 9223372036854775807, projects.number,
                   CASE WHEN duration_ms <= 2147483647 THEN duration_ms::integer END,
                   CASE WHEN request_size <= 2147483647 THEN request_size::integer END,
                   CASE WHEN response_size <= 2147483647 THEN response_size::integer END,
                   status_code, direction = 'inbound', trace_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$',
                   CASE WHEN trace_id ~ '^([0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$' THEN trace_id::uuid END,
                   method, host, path,
                   CASE WHEN trace_id !~ '^([0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$' THEN trace_id END,
                   user_id, error_fingerprint,
                   CASE WHEN duration_ms > 2147483647 THEN duration_ms END,
                   CASE WHEN request_size > 2147483647 THEN request_size END,
                   CASE WHEN response_size > 2147483647 THEN response_size END
              FROM http_requests_before AS stored JOIN projects ON projects.id = stored.project_id;
    ELSE
        DROP TABLE http_requests_before;
    END IF;
END
$$;
