"""The JSON face of the ingest service: a Flask application, and the HTTP/1.1 server in front of it."""
