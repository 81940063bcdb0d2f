-- Sums over rows, by group and time, so that questions about weeks read few of them. docs/rollups.md says how.

CREATE TABLE rollup_minutes (
    start          timestamptz NOT NULL,
    requests       bigint NOT NULL,
    slow           bigint NOT NULL,
    duration_ms    bigint NOT NULL,
    request_bytes  bigint NOT NULL,
    response_bytes bigint NOT NULL,
    project        integer NOT NULL,
    level          smallint NOT NULL,
    status_class   smallint NOT NULL,
    is_inbound     boolean NOT NULL,
    method         text,
    host           text,
    endpoint       text,
    buckets        bytea NOT NULL
);
CREATE TABLE rollup_hours (LIKE rollup_minutes INCLUDING ALL);
CREATE TABLE rollup_days (LIKE rollup_minutes INCLUDING ALL);

CREATE INDEX rollup_minutes_group ON rollup_minutes (project, level, start);
CREATE INDEX rollup_hours_group ON rollup_hours (project, level, start);
CREATE INDEX rollup_days_group ON rollup_days (project, level, start);

COMMENT ON TABLE rollup_minutes IS 'sums over rows by minute; a group may have several rows, whose sums are to be added up';
COMMENT ON TABLE rollup_hours IS 'the same by hour';
COMMENT ON TABLE rollup_days IS 'the same by day of UTC';
COMMENT ON COLUMN rollup_minutes.level IS '0: the whole project; 1: by method and host; 2: by method, host and endpoint';
COMMENT ON COLUMN rollup_minutes.status_class IS '2 for 200 to 299 and so on; 0 when no response came';
COMMENT ON COLUMN rollup_minutes.buckets IS 'requests by bucket of their duration (storage/rollups/buckets.py)';

-- What is in the tables. Whoever changes them locks this row first, and changes both in one transaction.
CREATE TABLE rollup_state (
    is_only           boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    mark              bigint NOT NULL DEFAULT 0,
    cluster           bigint NOT NULL DEFAULT 0,
    first_transaction bigint NOT NULL DEFAULT 0,
    minutes_from      timestamptz NOT NULL,
    kept_from         timestamptz,
    hours_until       timestamptz NOT NULL,
    days_until        timestamptz NOT NULL
);

COMMENT ON COLUMN rollup_state.mark IS 'rows of transactions below this number are in the rollups';
COMMENT ON COLUMN rollup_state.cluster IS 'the Postgres cluster whose transactions these are';
COMMENT ON COLUMN rollup_state.first_transaction IS 'what rows add to the number of a transaction of this cluster';
COMMENT ON COLUMN rollup_state.minutes_from IS 'minutes are kept from here on';
COMMENT ON COLUMN rollup_state.kept_from IS 'hours and days are kept from here on; NULL: all are';
COMMENT ON COLUMN rollup_state.hours_until IS 'hours are made up to here';
COMMENT ON COLUMN rollup_state.days_until IS 'days are made up to here';

INSERT INTO rollup_state (cluster, minutes_from, hours_until, days_until)
SELECT system_identifier, hour - interval '2 days', hour, date_trunc('day', hour, 'UTC')
  FROM pg_control_system(), date_trunc('hour', now(), 'UTC') AS hour;

-- Groups that got further rows, to be merged into one row each once more of them will hardly come.
CREATE TABLE rollup_unmerged (
    project integer NOT NULL,
    span    smallint NOT NULL,
    start   timestamptz NOT NULL,
    due_at  timestamptz NOT NULL,
    PRIMARY KEY (project, span, start)
);

COMMENT ON COLUMN rollup_unmerged.span IS '0: rollup_minutes, 1: rollup_hours, 2: rollup_days';
