"""The chain that the settings describe."""

from __future__ import annotations

from collections.abc import Callable

from spinner_executor.adapters.secrets.chain import SecretChain
from spinner_executor.adapters.secrets.interface import SecretBackend
from spinner_executor.adapters.secrets.simple import EnvironmentSecrets, FileSecrets
from spinner_executor.settings import Settings


def secret_chain(settings: Settings, own: SecretBackend) -> SecretChain:
    """Returns the back ends in the order of `SPINNER_SECRETS`; `own` is Spinner's. Raises ValueError, BackendFailed."""
    makers: dict[str, Callable[[], SecretBackend]] = {
        "environment": EnvironmentSecrets,
        "file": lambda: FileSecrets(settings.secrets_file),
        "vault": lambda: _vault(settings),
        "aws": lambda: _aws(settings),
        "spinner": lambda: own,
    }
    names = [name.strip() for name in settings.secrets.split(",") if name.strip()]
    unknown = [name for name in names if name not in makers]
    if unknown or len(set(names)) < len(names):
        raise ValueError(
            f"SPINNER_SECRETS={settings.secrets!r}: name each of {', '.join(makers)} at most once, in order of look-up"
        )
    return SecretChain([makers[name]() for name in names], settings.secrets_ttl_seconds)


def _vault(settings: Settings) -> SecretBackend:
    from spinner_executor.adapters.secrets.vault import VaultAccess, VaultSecrets  # a library that few need

    return VaultSecrets(
        VaultAccess(
            settings.vault_url,
            settings.vault_token.get_secret_value(),
            settings.vault_role_id,
            settings.vault_secret_id.get_secret_value(),
            settings.vault_role,
            settings.vault_mount,
            settings.vault_path,
            settings.vault_kv_version,
            settings.vault_namespace,
        )
    )


def _aws(settings: Settings) -> SecretBackend:
    from spinner_executor.adapters.secrets.aws import AwsSecrets

    return AwsSecrets(settings.aws_secrets_prefix, settings.aws_secrets_endpoint, settings.aws_secrets_region)
