"""The ingest service, its gRPC server, its settings and the command line."""
