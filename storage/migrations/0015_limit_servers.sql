-- Servers that have the limits of keys in common. It may be empty after a crash of Postgres: each server writes its row
-- again within a second. Nothing of it has to reach the disk before a commit is answered.

CREATE UNLOGGED TABLE limit_servers (
    id      uuid PRIMARY KEY,
    seen_at timestamptz NOT NULL,
    wanted  jsonb NOT NULL
);

COMMENT ON TABLE limit_servers IS 'servers with SEESTACK_LIMIT_SCOPE=database; of a distributed database on the coordinator';
COMMENT ON COLUMN limit_servers.wanted IS 'by the id of a key, what its clients lately asked of this server: requests and rows a second';
