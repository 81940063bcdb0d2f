"""Postgres: schema, projects and API keys, the event writer, and the embedded server.

Nothing here knows of HTTP, gRPC or JSON.
"""
