"""The server side of HTTP/2 (RFC 9113) on an event loop; docs/grpc-server.md says why it is our own."""
