"""What the back end for Vault promises, on a small server of its protocol and on a real Vault, both engine versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from spinner_executor.adapters.secrets.interface import BackendFailed
from spinner_executor.adapters.secrets.vault import VaultAccess, VaultSecrets
from spinner_executor.domain.credentials import Credentials
from vaults import AnyVault, RealVault, SmallVault


@pytest.fixture(params=["small", pytest.param("real", marks=pytest.mark.kubernetes)])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[1, 2])
def vault(request: pytest.FixtureRequest, kind: str) -> Iterator[AnyVault]:
    if kind == "real":
        yield RealVault(request.getfixturevalue("vault_server"), request.param)
        return
    small = SmallVault(request.param)
    yield small
    small.close()


def access(vault: AnyVault, **more: Any) -> VaultAccess:
    return VaultAccess(vault.url, **{"token": vault.token, "kv_version": vault.kv_version, **more})


def test_it_gives_fields_uris_and_values(vault: AnyVault) -> None:
    vault.put("spinner/connections/shop", {"type": "mysql", "host": "db", "password": "p4ssword"})
    vault.put("spinner/connections/api", {"uri": "https://u:p@host"})
    vault.put("spinner/variables/region", {"value": "eu"})
    backend = VaultSecrets(access(vault))
    assert backend.connection("shop") == Credentials("mysql", "db", password="p4ssword")
    assert backend.connection("api") == Credentials("https", "host", login="u", password="p")
    assert (backend.variable("region"), backend.variable("none"), backend.connection("none")) == ("eu", None, None)


def test_it_says_why_it_cannot(vault: AnyVault) -> None:
    role_id, _ = vault.role()
    with pytest.raises(BackendFailed, match=r"secret/other/variables/a at .* may not be read: allow it"):
        VaultSecrets(access(vault, path="other")).variable("a")
    with pytest.raises(BackendFailed, match="no way to sign in"):
        VaultSecrets(access(vault, token="")).variable("a")
    with pytest.raises(BackendFailed, match="invalid role or secret ID"):
        VaultSecrets(access(vault, token="", role_id=role_id, secret_id="wrong")).variable("a")
    vault.seal()
    with pytest.raises(BackendFailed, match="is sealed: unseal it"):
        VaultSecrets(access(vault)).variable("a")
    vault.close()
    with pytest.raises(BackendFailed, match=vault.url):
        VaultSecrets(access(vault)).variable("a")


def test_it_signs_in_again_when_its_token_has_ended(vault: AnyVault) -> None:
    role_id, secret_id = vault.role()
    vault.put("spinner/variables/region", {"value": "eu"})
    backend = VaultSecrets(access(vault, token="", role_id=role_id, secret_id=secret_id))
    assert backend.variable("region") == "eu"
    vault.end_tokens()
    assert backend.variable("region") == "eu"
