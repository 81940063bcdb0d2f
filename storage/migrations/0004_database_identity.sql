-- Who this database is: what a server's disk keeps for it, its spool above all, must not get into another one.

CREATE TABLE database_identity (
    id  uuid NOT NULL DEFAULT gen_random_uuid(),
    one boolean PRIMARY KEY DEFAULT true CHECK (one)
);

INSERT INTO database_identity DEFAULT VALUES;

COMMENT ON COLUMN database_identity.id IS 'kept by replicas, backups and copies of this database';
