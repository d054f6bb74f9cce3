"""A connection as secret back ends hold it: a JSON object or a URI. Pure.

    {"type": "mysql", "host": "db", "port": 3306, "schema": "shop", "login": "etl", "password": "…", "extra": {…}}
    mysql://etl:%70assword@db:3306/shop?ssl=true

`conn_type` is read as `type`, `username`/`user` as `login`, so that what was stored for Airflow is understood.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

_SECRET_WORDS = ("pass", "secret", "token", "key", "credential", "auth")


class Unreadable(ValueError):  # noqa: N818 - an answer
    """A stored secret cannot be read. Says which, why, and how to fix it; never its text."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """One connection in plain text."""

    type: str = ""
    host: str = ""
    port: int = 0
    schema: str = ""
    login: str = ""
    password: str = ""
    extra_json: str = ""

    def secrets(self) -> list[str]:
        """The texts that must not be in a log; with the one that HTTP sends of login and password (RFC 7617)."""
        basic = base64.b64encode(f"{self.login}:{self.password}".encode()).decode() if self.password else ""
        return [text for text in (self.password, basic, *secret_texts(self.extra_json)) if text]


def secret_texts(extra_json: str) -> list[str]:
    """The values of a connection's extra that look like secrets by their names, however deep they are."""
    try:
        extra = json.loads(extra_json) if extra_json else {}
    except ValueError:
        return [extra_json]
    return list(_secrets_in(extra, named=False))


def _secrets_in(value: Any, named: bool) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _secrets_in(inner, named or any(word in name.lower() for word in _SECRET_WORDS))
    elif isinstance(value, list):
        for inner in value:
            yield from _secrets_in(inner, named)
    elif named and value is not None and not isinstance(value, bool):
        yield value if isinstance(value, str) else json.dumps(value)


def parse(stored: str | Mapping[str, Any], where: str) -> Credentials:
    """Reads a connection; `where` names it in the message of Unreadable."""
    if not isinstance(stored, str):
        return _of_object(stored, where)
    text = stored.strip()
    if text.startswith("{"):
        try:
            return _of_object(json.loads(text), where)
        except json.JSONDecodeError as error:
            raise Unreadable(f"{where} is not JSON: {error.msg} at character {error.pos}") from None
    if "://" not in text:
        raise Unreadable(f"{where} is neither a JSON object nor a URI like mysql://user:password@host:3306/schema")
    try:
        uri = urlsplit(text)
        port = uri.port or 0
    except ValueError:
        raise Unreadable(f"{where} is a URI that can't be read; quote special characters in it (%40 for @)") from None
    query = dict(parse_qsl(uri.query))
    extra = query.pop("__extra__", "")
    return Credentials(
        uri.scheme.replace("-", "_"), unquote(uri.hostname or ""), port, unquote(uri.path.removeprefix("/")),
        unquote(uri.username or ""), unquote(uri.password or ""), extra or (json.dumps(query) if query else ""),
    )  # fmt: skip


def _of_object(fields: Any, where: str) -> Credentials:
    if not isinstance(fields, Mapping):
        raise Unreadable(f"{where} is not a JSON object with type, host, login, password …")
    extra = fields.get("extra") or ""
    try:
        port = int(fields.get("port") or 0)
    except (TypeError, ValueError):
        raise Unreadable(f"{where} has a port that is no number") from None

    def text(*names: str) -> str:
        return next((str(fields[name]) for name in names if fields.get(name) is not None), "")

    return Credentials(
        text("type", "conn_type"), text("host"), port, text("schema"), text("login", "username", "user"),
        text("password"), extra if isinstance(extra, str) else json.dumps(extra),
    )  # fmt: skip
