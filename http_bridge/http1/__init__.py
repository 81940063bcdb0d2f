"""An HTTP/1.1 server for one WSGI application, on an event loop; docs/http-server.md says why it is our own."""
