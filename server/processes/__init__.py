"""The processes of `seestack-ingest serve`: the main process with its supervisor, and what all workers share."""
