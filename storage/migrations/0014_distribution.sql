-- What lets a database be distributed by project (storage/distribution). Nothing else uses these columns.

ALTER TABLE idempotency_keys ADD COLUMN project integer NOT NULL DEFAULT 0;
ALTER TABLE rollup_state ADD COLUMN project integer NOT NULL DEFAULT 0;

COMMENT ON COLUMN idempotency_keys.project IS 'number of the project; 0 where servers of an earlier version stored the key';
COMMENT ON COLUMN rollup_state.project IS 'of a distributed database, whose shards have a row each: a number that belongs to the shard';
