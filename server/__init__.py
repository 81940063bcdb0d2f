"""The ingest service: its order of a request, gRPC, processes, settings and command line.

HTTP comes through the package http_bridge, which imports this one; this one imports storage.
"""
