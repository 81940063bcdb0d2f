"""The ingest contract: what a batch is, the rules for its fields, and idempotency keys."""
