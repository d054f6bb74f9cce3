"""AWS Secrets Manager: `<prefix>/connections/<id>` (a JSON object or a URI) and `<prefix>/variables/<name>` (text)."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from spinner_executor.adapters.secrets.interface import BackendFailed
from spinner_executor.domain.credentials import Credentials, parse

_TIMEOUT_SECONDS = 5


class AwsSecrets:
    """Credentials and region as boto3 finds them (environment, profile, role); `endpoint` for another address."""

    name = "aws"
    cached = True

    def __init__(self, prefix: str = "spinner", endpoint: str = "", region: str = "") -> None:
        self._prefix = prefix.strip("/")
        config = Config(
            connect_timeout=_TIMEOUT_SECONDS, read_timeout=_TIMEOUT_SECONDS, retries={"max_attempts": 3}
        )  # fmt: skip
        try:
            self._client: Any = boto3.session.Session().client(
                "secretsmanager", endpoint_url=endpoint or None, region_name=region or None, config=config
            )
        except BotoCoreError as error:
            raise BackendFailed(f"{error}; set AWS_REGION or SPINNER_AWS_SECRETS_REGION") from error

    def _read(self, where: str) -> str | None:
        name = f"{self._prefix}/{where}" if self._prefix else where
        try:
            answer = self._client.get_secret_value(SecretId=name)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code == "ResourceNotFoundException":
                return None
            raise BackendFailed(f"{name}: {code}: {error.response.get('Error', {}).get('Message', '')}") from error
        except BotoCoreError as error:
            raise BackendFailed(f"{name}: {error}") from error
        text: str | None = answer.get("SecretString")
        return text if text is not None else answer["SecretBinary"].decode()

    def connection(self, connection_id: str) -> Credentials | None:
        found = self._read(f"connections/{connection_id}")
        return None if found is None else parse(found, f"connection {connection_id} in AWS Secrets Manager")

    def variable(self, name: str) -> str | None:
        return self._read(f"variables/{name}")
