"""The JSON face of the ingest service: Flask, served by Granian."""
