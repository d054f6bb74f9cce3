"""HashiCorp Vault (and OpenBao): key-value engines, versions 1 and 2.

A connection is the secret at `<mount>/<path>/connections/<id>`: its fields, or one field `uri`. A variable is the
field `value` of `<mount>/<path>/variables/<name>`. The client signs in by a token, an AppRole, or the pod's service
account, and again when its token has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hvac
import requests
from hvac import exceptions

from spinner_executor.adapters.secrets.interface import BackendFailed
from spinner_executor.domain.credentials import Credentials, Unreadable, parse

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


@dataclass(frozen=True, slots=True)
class VaultAccess:
    """Where Vault is and how to sign in: `token`, else `role_id` and `secret_id`, else `kubernetes_role`."""

    url: str
    token: str = ""
    role_id: str = ""
    secret_id: str = ""
    kubernetes_role: str = ""
    mount: str = "secret"
    path: str = "spinner"
    kv_version: int = 2
    namespace: str = ""
    timeout_seconds: float = 5.0


class VaultSecrets:
    """See the module."""

    name = "vault"
    cached = True

    def __init__(self, access: VaultAccess) -> None:
        self._access = access
        self._client = hvac.Client(
            url=access.url, token=access.token or None, namespace=access.namespace or None,
            timeout=access.timeout_seconds,
        )  # fmt: skip
        self._lock = threading.Lock()
        self._signed_in = bool(access.token)

    def _sign_in(self) -> None:
        access = self._access
        with self._lock:
            if self._signed_in:
                return
            if access.role_id:
                self._client.auth.approle.login(access.role_id, access.secret_id)
            elif access.kubernetes_role:
                token = _SERVICE_ACCOUNT.read_text()
                self._client.auth.kubernetes.login(access.kubernetes_role, token)
            else:
                raise BackendFailed("no way to sign in: set SPINNER_VAULT_TOKEN, SPINNER_VAULT_ROLE_ID or …_ROLE")
            self._signed_in = True

    def _read(self, where: str) -> dict[str, Any] | None:
        path = f"{self._access.path}/{where}".strip("/")
        full = f"{self._access.mount}/{path} at {self._access.url}"
        try:
            return self._signed(lambda: self._fields(path))
        except exceptions.InvalidPath:
            return None
        except exceptions.Forbidden as error:
            raise BackendFailed(f"{full} may not be read: allow it in the token's policy") from error
        except exceptions.VaultDown as error:
            raise BackendFailed(f"{self._access.url} is sealed: unseal it") from error
        except (exceptions.VaultError, OSError, requests.RequestException) as error:
            raise BackendFailed(f"{full}: {type(error).__name__}: {error}") from error

    def _signed(self, read: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
        self._sign_in()
        try:
            return read()
        except exceptions.Forbidden:
            if self._access.token:
                raise
            self._signed_in = False  # the token that a role got may have ended
            self._sign_in()
            return read()

    def _fields(self, path: str) -> dict[str, Any] | None:
        mount = self._access.mount
        if self._access.kv_version == 1:
            answer = self._client.secrets.kv.v1.read_secret(path, mount_point=mount)
            return dict(answer["data"])
        answer = self._client.secrets.kv.v2.read_secret_version(path, mount_point=mount, raise_on_deleted_version=True)
        return dict(answer["data"]["data"])

    def connection(self, connection_id: str) -> Credentials | None:
        fields = self._read(f"connections/{connection_id}")
        if fields is None:
            return None
        where = f"connection {connection_id} in Vault"
        uri = fields.get("uri") or fields.get("conn_uri")
        return parse(str(uri) if uri else fields, where)

    def variable(self, name: str) -> str | None:
        fields = self._read(f"variables/{name}")
        if fields is None:
            return None
        if "value" not in fields:
            raise Unreadable(f"variable {name} in Vault has no field 'value'")
        return str(fields["value"])
