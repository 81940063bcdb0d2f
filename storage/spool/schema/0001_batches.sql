-- Batches that wait for Postgres, and what became of some of them.

CREATE TABLE batches (
    position   INTEGER PRIMARY KEY AUTOINCREMENT,
    spooled_at REAL NOT NULL,
    row_count  INTEGER NOT NULL,
    data       BLOB NOT NULL,
    claim      BLOB UNIQUE,
    claim_body BLOB
);

-- Batches that Postgres may have: beside the batches, since changing a row writes all of it.
CREATE TABLE doubts (position INTEGER PRIMARY KEY, backend_pid INTEGER NOT NULL);

-- What Postgres would not take although its sender was told that it is safe.
CREATE TABLE refused (
    position   INTEGER PRIMARY KEY,
    refused_at REAL NOT NULL,
    reason     TEXT NOT NULL,
    row_count  INTEGER NOT NULL,
    data       BLOB NOT NULL
);

CREATE TABLE totals (batches INTEGER NOT NULL, row_count INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO totals VALUES (0, 0, 0);

CREATE TRIGGER count_in AFTER INSERT ON batches BEGIN
    UPDATE totals SET batches = batches + 1, row_count = row_count + new.row_count, bytes = bytes + length(new.data);
END;

CREATE TRIGGER count_out AFTER DELETE ON batches BEGIN
    UPDATE totals SET batches = batches - 1, row_count = row_count - old.row_count, bytes = bytes - length(old.data);
    DELETE FROM doubts WHERE position = old.position;
END;
