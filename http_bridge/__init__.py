"""The HTTP side of the ingest service: a Flask application for JSON, and the HTTP/1.1 server in front of it."""
