"""Writing batches into Postgres: encoding of rows, the writer, its slow path, and the lookup of lost commits."""
