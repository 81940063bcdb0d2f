"""Postgres and the local disk: schema, keys, the writer, the spool, the embedded server, backups.

Nothing here knows of HTTP, gRPC or JSON.
"""
