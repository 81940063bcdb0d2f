-- Projects that were deleted: what is left of their rows, or comes later out of a spool, is deleted as well.

CREATE TABLE deleted_projects (
    number     integer PRIMARY KEY,
    deleted_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON COLUMN deleted_projects.number IS 'what rows have of their project; never given to another one';
