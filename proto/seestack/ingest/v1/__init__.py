"""Messages and stubs of the ingest API: `ingest_pb2` and `ingest_pb2_grpc`, generated from ingest.proto."""
