"""Connections: how to reach other systems."""

from __future__ import annotations

import json
from typing import Any

from spinner.exceptions import SpinnerException


class Connection:
    """Address and credentials of one system."""

    def __init__(
        self,
        conn_id: str,
        conn_type: str = "",
        host: str | None = None,
        login: str | None = None,
        password: str | None = None,
        schema: str | None = None,
        port: int | None = None,
        extra: str | dict[str, Any] | None = None,
    ) -> None:
        self.conn_id = conn_id
        self.conn_type = conn_type
        self.host = host
        self.login = login
        self.password = password
        self.schema = schema
        self.port = port
        self.extra = json.dumps(extra) if isinstance(extra, dict) else extra

    @property
    def extra_dejson(self) -> dict[str, Any]:
        """``extra`` as a dict; empty when it is no JSON object."""
        try:
            value = json.loads(self.extra) if self.extra else {}
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def get_uri(self) -> str:
        """As ``type://login:password@host:port/schema``."""
        from urllib.parse import quote

        user = quote(self.login or "", safe="")
        if self.password:
            user += ":" + quote(self.password, safe="")
        place = (f"{user}@" if user else "") + (self.host or "") + (f":{self.port}" if self.port else "")
        return f"{self.conn_type.replace('_', '-')}://{place}/{quote(self.schema or '', safe='')}"

    @classmethod
    def get(cls, conn_id: str) -> Connection:
        """The connection. Raises SpinnerException when there is none, RuntimeUnavailable outside of a task."""
        from spinner.runtime.current import current_api

        found = current_api().get_connection(conn_id)
        if found is None:
            raise SpinnerException(f"Connection {conn_id!r} does not exist. Create it, or correct the id.")
        return found

    get_connection_from_secrets = get

    def __repr__(self) -> str:
        return f"<Connection {self.conn_id}>"


class ConnectionAccessor:
    """``conn.NAME.host`` in templates."""

    def __getattr__(self, name: str) -> Connection:
        if name.startswith("__"):
            raise AttributeError(name)
        return Connection.get(name)

    def get(self, name: str, default_conn: Any = None) -> Any:
        """The connection, or the default."""
        try:
            return Connection.get(name)
        except SpinnerException:
            return default_conn
