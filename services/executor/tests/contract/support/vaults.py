"""Vaults for the contract of the secret back end: a small server of its protocol, and the real one."""

from __future__ import annotations

import json
from typing import Any, Protocol

from spinner_servers.vault import Vault
from vault_server import VaultServer

MOUNT = "secret"
ROLE = "executor"


class AnyVault(Protocol):
    """`kv_version` of the engine at `secret/`; `token` may read below `spinner/`."""

    url: str
    token: str
    kv_version: int

    def put(self, path: str, fields: dict[str, Any]) -> None: ...
    def role(self) -> tuple[str, str]:
        """Role id and secret id of an AppRole with the same rights."""

    def end_tokens(self) -> None:
        """Tokens that roles got are over."""

    def seal(self) -> None: ...
    def close(self) -> None: ...


class SmallVault:
    def __init__(self, kv_version: int) -> None:
        self._server = VaultServer(kv_version)
        self.url, self.kv_version, self.token = self._server.url, kv_version, "t-given"
        self._server.tokens[self.token] = "spinner/"
        self._tokens = 0

    def put(self, path: str, fields: dict[str, Any]) -> None:
        self._server.data[path] = fields

    def role(self) -> tuple[str, str]:
        self.end_tokens()
        return "r", "s"

    def end_tokens(self) -> None:
        self._server.tokens.pop(f"t-{self._tokens}", None)
        self._tokens += 1
        self._server.roles["r", "s"] = f"t-{self._tokens}"
        self._server.tokens[f"t-{self._tokens}"] = "spinner/"

    def seal(self) -> None:
        self._server.sealed = True

    def close(self) -> None:
        self._server.close()


class RealVault:
    def __init__(self, vault: Vault, kv_version: int) -> None:
        self._vault = vault
        self.url, self.kv_version = vault.url, kv_version
        vault.call("POST", f"sys/mounts/{MOUNT}", {"type": "kv", "options": {"version": str(kv_version)}})
        self._data = f"{MOUNT}/data" if kv_version == 2 else MOUNT
        rules = json.dumps({"path": {f"{self._data}/spinner/*": {"capabilities": ["read"]}}})
        vault.call("PUT", "sys/policies/acl/spinner", {"policy": rules})
        self.token = vault.call("POST", "auth/token/create", {"policies": ["spinner"]})["auth"]["client_token"]

    def put(self, path: str, fields: dict[str, Any]) -> None:
        self._vault.call("POST", f"{self._data}/{path}", {"data": fields} if self.kv_version == 2 else fields)

    def role(self) -> tuple[str, str]:
        self._vault.call("POST", "sys/auth/approle", {"type": "approle"})
        path = f"auth/approle/role/{ROLE}"
        self._vault.call("POST", path, {"token_policies": ["spinner"]})
        role_id = self._vault.call("GET", f"{path}/role-id")["data"]["role_id"]
        return role_id, self._vault.call("POST", f"{path}/secret-id")["data"]["secret_id"]

    def end_tokens(self) -> None:
        self._vault.call("PUT", "sys/leases/revoke-prefix/auth/approle/login")

    def seal(self) -> None:
        self._vault.call("PUT", "sys/seal")

    def close(self) -> None:
        self._vault.close()
