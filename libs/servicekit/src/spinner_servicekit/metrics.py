"""The Prometheus endpoint of a process."""

from __future__ import annotations

from spinner_servicekit.addresses import split


def serve(address: str) -> str | None:
    """Serves the default registry at `host:port` on a daemon thread; returns the actual address.

    Port 0 picks one. None for an empty address.
    """
    if not address:
        return None
    from prometheus_client import start_http_server

    host, port = split(address)
    server, _ = start_http_server(port, addr=host)
    return f"{host}:{server.server_port}"
