-- The idempotency keys of batches that are stored, for a day: a repeated request is not stored again.

CREATE TABLE idempotency_keys (
    id         uuid PRIMARY KEY,
    body       uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON COLUMN idempotency_keys.id IS 'digest of project id and idempotency key';
COMMENT ON COLUMN idempotency_keys.body IS 'digest of the request body that came with the key';

-- Rows come in the order of time, so a few bytes for many of them find those to be forgotten.
CREATE INDEX idempotency_keys_created_at ON idempotency_keys USING brin (created_at);
