"""Messages and stubs of the query API: `query_pb2` and `query_pb2_grpc`, generated from query.proto."""
