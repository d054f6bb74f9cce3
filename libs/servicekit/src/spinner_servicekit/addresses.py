"""`host:port` texts."""

from __future__ import annotations


def split(address: str) -> tuple[str, int]:
    """Host and port of `host:port` (IPv6 hosts in brackets); raises ValueError that says what was expected."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{address!r} is not an address: host:port was expected, as 127.0.0.1:50051")
    return host.strip("[]"), int(port)
