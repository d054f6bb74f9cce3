"""Secrets from Spinner's own topics, from the executor's environment and from a file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from spinner_executor.adapters.secrets.interface import BackendFailed
from spinner_executor.adapters.views import SharedView
from spinner_executor.domain.credentials import Credentials, Unreadable, parse


def environment_name(identity: str) -> str:
    """ "my-db.main" → "MY_DB_MAIN": what a shell takes as a name."""
    return re.sub(r"[^A-Z0-9_]", "_", identity.upper())


class EnvironmentSecrets:
    """`SPINNER_CONN_<ID>` (a URI or a JSON object) and `SPINNER_VAR_<NAME>`; Airflow's names are understood, too."""

    name = "environment"
    cached = False

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment

    def _get(self, kind: str, identity: str) -> str | None:
        name = environment_name(identity)
        for prefix in (f"SPINNER_{kind}_", f"AIRFLOW_{kind}_"):
            if (found := self._environment.get(prefix + name)) is not None:
                return found
        return None

    def connection(self, connection_id: str) -> Credentials | None:
        found = self._get("CONN", connection_id)
        return None if found is None else parse(found, f"the variable SPINNER_CONN_{environment_name(connection_id)}")

    def variable(self, name: str) -> str | None:
        return self._get("VAR", name)


class OwnSecrets:
    """What people keep in Spinner itself."""

    name = "spinner"
    cached = False

    def __init__(self, view: SharedView) -> None:
        self._view = view

    def connection(self, connection_id: str) -> Credentials | None:
        return self._view.connection(connection_id)

    def variable(self, name: str) -> str | None:
        return self._view.variable(name)


class FileSecrets:
    """A YAML or JSON file, read again when it changes:

    connections: {shop: {type: mysql, host: db, password: …}, api: "https://user:password@host"}
    variables: {region: eu}
    """

    name = "file"
    cached = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: tuple[tuple[int, int], dict[str, Any]] | None = None

    def _section(self, name: str) -> Mapping[str, Any]:
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if self._read is None or self._read[0] != stamp:
                self._read = stamp, yaml.safe_load(self._path.read_text()) or {}
            section = self._read[1].get(name) or {}
        except OSError as error:
            raise BackendFailed(f"{self._path} can't be read: {error.strerror}; check SPINNER_SECRETS_FILE") from error
        except (yaml.YAMLError, UnicodeDecodeError, AttributeError):
            section = None
        if not isinstance(section, Mapping):  # the parser's own words could quote a secret
            raise BackendFailed(f"{self._path} is not YAML or JSON with maps 'connections' and 'variables'")
        return section

    def connection(self, connection_id: str) -> Credentials | None:
        found = self._section("connections").get(connection_id)
        return None if found is None else parse(found, f"connection {connection_id} in {self._path}")

    def variable(self, name: str) -> str | None:
        found = self._section("variables").get(name)
        if found is None or isinstance(found, str):
            return found
        try:
            return json.dumps(found)
        except TypeError:
            raise Unreadable(f"variable {name} in {self._path} is neither text nor JSON") from None
