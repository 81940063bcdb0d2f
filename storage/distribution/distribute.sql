-- Rows, what is summed up of them and idempotency keys are spread by project; all else is on every node.

SET LOCAL citus.multi_shard_modify_mode = sequential;

SELECT create_reference_table(small.name::regclass)
  FROM unnest(ARRAY['schema_migrations', 'database_identity', 'projects', 'api_keys', 'deleted_projects']) AS small (name)
 WHERE NOT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = small.name::regclass);

-- A unique index must have the column by which a table is spread. A key's id is a digest of the project as well.
ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey;
ALTER TABLE idempotency_keys ADD PRIMARY KEY (project, id);

-- Each shard has a state of its own: a number of no project, but of the shard, has it there.
ALTER TABLE rollup_state DROP CONSTRAINT rollup_state_pkey;
ALTER TABLE rollup_state ADD PRIMARY KEY (project);

-- Rows are deleted also while a shard is moved, which goes by logical replication.
ALTER TABLE rollup_minutes REPLICA IDENTITY FULL;
ALTER TABLE rollup_hours REPLICA IDENTITY FULL;
ALTER TABLE rollup_days REPLICA IDENTITY FULL;

SELECT create_distributed_table('http_request_rows', 'project');

WITH shards AS (
    SELECT row_number() OVER (ORDER BY shardminvalue::bigint) AS number, shardminvalue::bigint AS least, shardmaxvalue::bigint AS most
      FROM pg_dist_shard WHERE logicalrelid = 'http_request_rows'::regclass
), numbers AS (
    SELECT DISTINCT ON (shards.number) shards.number, candidate
      FROM generate_series(1, 100 * (SELECT count(*) FROM shards)) AS candidate
      JOIN shards ON hashint4(-candidate::integer) BETWEEN least AND most
     ORDER BY shards.number, candidate
)
INSERT INTO rollup_state (is_only, mark, cluster, first_transaction, minutes_from, kept_from, hours_until, days_until, project)
SELECT true, mark, 0, first_transaction, minutes_from, kept_from, hours_until, days_until, -candidate::integer
  FROM rollup_state, numbers;
DELETE FROM rollup_state WHERE project = 0;

SELECT create_distributed_table(spread.name::regclass, 'project', colocate_with => 'http_request_rows')
  FROM unnest(ARRAY['idempotency_keys', 'rollup_state', 'rollup_minutes', 'rollup_hours', 'rollup_days', 'rollup_unmerged', 'rollup_names'])
       AS spread (name);

-- Each node has a table `ready_shards` of its own (storage/distribution/shards.py): the tables of the shards that it may
-- take rows for. A shard that comes, or comes back, is a new table.
CREATE FUNCTION hold_shards(shards bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- In the mode SHARE, as Citus' own writers do: what moves a shard waits for the end of the transaction.
    PERFORM lock_shard_metadata(5, shards), set_config('citus.enable_manual_changes_to_shards', 'on', true);
    IF (SELECT count(*)
          FROM pg_dist_placement JOIN ready_shards ON part = to_regclass('http_request_rows_' || shardid)
         WHERE shardid = ANY (shards) AND shardstate = 1
           AND groupid = (SELECT groupid FROM pg_dist_local_group)) < cardinality(shards)
    THEN
        RAISE EXCEPTION 'a shard is not on this node, or not ready' USING ERRCODE = 'SM001';
    END IF;
END
$$;

COMMENT ON FUNCTION hold_shards IS 'keeps shards on this node until the transaction ends; an error when they are not there';
