-- Rollups that are a fraction of the rows: names are numbers, and all groups of a span of time are one value. They are
-- made again from the rows.

DROP TABLE rollup_minutes, rollup_hours, rollup_days;

CREATE TABLE rollup_names (
    project  integer NOT NULL,
    number   integer NOT NULL,
    hash     bigint NOT NULL,
    method   text NOT NULL,
    host     text NOT NULL,
    endpoint text,
    PRIMARY KEY (project, number)
);
CREATE INDEX rollup_names_hash ON rollup_names (project, hash);

COMMENT ON TABLE rollup_names IS 'what numbers in rollups stand for; a number keeps its meaning for ever';
COMMENT ON COLUMN rollup_names.hash IS 'of method, host and endpoint (storage/rollups/names.py)';
COMMENT ON COLUMN rollup_names.endpoint IS 'NULL: the number stands for method and host';

CREATE TABLE rollup_minutes (
    start   timestamptz NOT NULL,
    project integer NOT NULL,
    level   smallint NOT NULL,
    groups  bytea NOT NULL
);
-- It is narrow already, and unpacking would cost more than reading.
ALTER TABLE rollup_minutes ALTER COLUMN groups SET STORAGE EXTERNAL;
CREATE TABLE rollup_hours (LIKE rollup_minutes INCLUDING ALL);
CREATE TABLE rollup_days (LIKE rollup_minutes INCLUDING ALL);

CREATE INDEX rollup_minutes_place ON rollup_minutes (project, level, start);
CREATE INDEX rollup_hours_place ON rollup_hours (project, level, start);
CREATE INDEX rollup_days_place ON rollup_days (project, level, start);

COMMENT ON TABLE rollup_minutes IS 'sums over rows by minute; a minute may have several rows, whose sums are to be added up';
COMMENT ON TABLE rollup_hours IS 'the same by hour';
COMMENT ON TABLE rollup_days IS 'the same by day of UTC';
COMMENT ON COLUMN rollup_minutes.level IS '0: the whole project; 1: by method and host; 2: by method, host and endpoint';
COMMENT ON COLUMN rollup_minutes.groups IS 'sums by name, direction and status class (storage/rollups/stored_groups.py)';

DELETE FROM rollup_unmerged;
UPDATE rollup_state SET mark = 0;
