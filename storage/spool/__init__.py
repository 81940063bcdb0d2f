"""The spool: batches on the local disk that wait for Postgres, and their drain."""
