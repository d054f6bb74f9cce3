"""What a secret back end must do."""

from __future__ import annotations

from typing import Protocol

from spinner_executor.domain.credentials import Credentials


class BackendFailed(Exception):  # noqa: N818 - an answer
    """A back end could not be asked. Says why, for people, without any secret."""


class SecretBackend(Protocol):
    """Thread-safe; methods block. None means that it has no such secret; raises BackendFailed, Unreadable."""

    name: str
    # Whether answers are kept for a while: those of back ends over a network.
    cached: bool

    def connection(self, connection_id: str) -> Credentials | None: ...

    def variable(self, name: str) -> str | None: ...
