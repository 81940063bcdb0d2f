-- Keys that are shown to everyone, in web pages, can be bound to the origins of those pages. NULL is any caller.

ALTER TABLE api_keys ADD COLUMN origins text[] CHECK (cardinality(origins) > 0 AND array_position(origins, NULL) IS NULL);

COMMENT ON COLUMN api_keys.origins IS 'origins (RFC 6454) whose pages may use the key; NULL when anyone who has it may';
