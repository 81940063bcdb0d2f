-- Each batch says what form its rows have, and a spool whose it is. Servers of version 1 may go on adding to the file;
-- what they add has the form that all batches had.

CREATE TABLE forms (id INTEGER PRIMARY KEY, definition TEXT NOT NULL UNIQUE);
INSERT INTO forms VALUES (1, 'http_requests (received_at timestamptz, project_id uuid, id uuid, timestamp timestamptz, duration_ms bigint, request_size bigint, response_size bigint, status_code smallint, direction request_direction, method text, host text, path text, trace_id text, user_id text, error_fingerprint text)');

ALTER TABLE batches ADD COLUMN form INTEGER NOT NULL DEFAULT 1;

-- All that it takes to try a refused batch again.
ALTER TABLE refused ADD COLUMN spooled_at REAL;
ALTER TABLE refused ADD COLUMN claim BLOB;
ALTER TABLE refused ADD COLUMN claim_body BLOB;
ALTER TABLE refused ADD COLUMN form INTEGER NOT NULL DEFAULT 1;

-- The transaction that may have stored a batch; version 1 noted the backend only.
ALTER TABLE doubts ADD COLUMN transaction_id INTEGER;

CREATE TRIGGER no_older_drain BEFORE INSERT ON doubts WHEN new.transaction_id IS NULL BEGIN
    SELECT RAISE(ABORT, 'a newer version of seestack-ingest uses this spool; stop the older one');
END;

-- When a batch was last stored or refused.
ALTER TABLE totals ADD COLUMN drained_at REAL NOT NULL DEFAULT 0;

-- The database that the batches are for: its own identity, NULL before it was first reached, and where it is.
CREATE TABLE owner (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    database_id TEXT,
    location    TEXT NOT NULL,
    used_at     REAL NOT NULL
);
