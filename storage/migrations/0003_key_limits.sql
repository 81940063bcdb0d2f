-- Limits of API keys: so many requests and rows a second, each with a burst. NULL is without limit.

ALTER TABLE api_keys
    ADD COLUMN requests_per_second double precision CHECK (requests_per_second BETWEEN 0.001 AND 1000000),
    ADD COLUMN requests_burst      integer          CHECK (requests_burst BETWEEN 1 AND 1000000),
    ADD COLUMN rows_per_second     double precision CHECK (rows_per_second BETWEEN 0.001 AND 1000000),
    ADD COLUMN rows_burst          integer          CHECK (rows_burst BETWEEN 1 AND 1000000),
    ADD CHECK ((requests_per_second IS NULL) = (requests_burst IS NULL)),
    ADD CHECK ((rows_per_second IS NULL) = (rows_burst IS NULL));

COMMENT ON COLUMN api_keys.requests_burst IS 'requests that may come at once, after a pause';
COMMENT ON COLUMN api_keys.rows_burst IS 'rows that may come at once, after a pause; no larger batch can pass';
