"""Addresses at which people and clients on this machine reach a server."""

from server.processes.listeners import reachable
from server.settings import Settings


def http_url(settings: Settings) -> str:
    """Return the URL of the HTTP server, without a path."""
    scheme = "http" if settings.tls_cert is None else "https"
    return f"{scheme}://{reachable(settings.http_host, settings.http_port)}"
