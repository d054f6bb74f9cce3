"""Back ends in order: the first that has a secret gives it.

One that fails ends the look-up with an error that names it: a later one might have an old password, and a try that
fails and is tried again is better than one that works with that. Answers of back ends over a network, also "no such
secret", are kept for `ttl_seconds`; when such a back end fails, its last answer is used for STALE times as long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from spinner_executor.adapters.secrets.interface import BackendFailed, SecretBackend
from spinner_executor.domain.credentials import Credentials, Unreadable

_log = logging.getLogger(__name__)
STALE = 10
T = TypeVar("T")


class Found(Generic[T]):
    """A secret and the name of the back end that gave it."""

    __slots__ = ("backend", "value")

    def __init__(self, value: T, backend: str) -> None:
        self.value, self.backend = value, backend


class SecretChain:
    """Thread-safe; methods block. They raise Unreadable, which says which back end failed and why."""

    def __init__(
        self, backends: Sequence[SecretBackend], ttl_seconds: float = 300.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.backends = list(backends)
        self._ttl = ttl_seconds
        self._clock = clock
        self._kept: dict[tuple[str, str, str], tuple[float, Credentials | str | None]] = {}
        self._lock = threading.Lock()

    def connection(self, connection_id: str) -> Found[Credentials] | None:
        """The connection; None when no back end has it."""
        return self._find("connection", connection_id, lambda backend: backend.connection(connection_id))

    def variable(self, name: str) -> Found[str] | None:
        """The variable; None when no back end has it."""
        return self._find("variable", name, lambda backend: backend.variable(name))

    def _find(self, kind: str, identity: str, ask: Callable[[SecretBackend], T | None]) -> Found[T] | None:
        for backend in self.backends:
            try:
                value = self._ask(backend, (backend.name, kind, identity), ask)
            except BackendFailed as error:
                raise Unreadable(f"{kind} {identity}: the secret back end '{backend.name}' failed: {error}") from error
            if value is not None:
                return Found(value, backend.name)
        return None

    def _ask(
        self, backend: SecretBackend, key: tuple[str, str, str], ask: Callable[[SecretBackend], T | None]
    ) -> T | None:
        if not backend.cached:
            return ask(backend)
        with self._lock:
            kept = self._kept.get(key)
        now = self._clock()
        if kept is not None and now - kept[0] < self._ttl:
            return kept[1]  # type: ignore[return-value]
        try:
            value = ask(backend)
        except BackendFailed as error:
            if kept is not None and now - kept[0] < STALE * self._ttl:
                _log.warning("secret back end %s: %s; its last answer for %s %s is used", backend.name, error, *key[1:])
                return kept[1]  # type: ignore[return-value]
            raise
        with self._lock:
            self._kept[key] = now, value  # type: ignore[assignment]
        return value
