-- What a key is for: sending rows, or reading those of its project.

ALTER TABLE api_keys ADD COLUMN scope text NOT NULL DEFAULT 'ingest' CHECK (scope IN ('ingest', 'read'));

COMMENT ON COLUMN api_keys.scope IS 'ingest: may send rows; read: may read the rows of its project';
