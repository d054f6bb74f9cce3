"""Tasks get connections and variables from Vault, AWS Secrets Manager, files and the environment, masked in the log."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer
from spinner_executor.adapters.secrets.aws import AwsSecrets
from spinner_executor.adapters.secrets.interface import BackendFailed
from spinner_executor.domain.credentials import Credentials
from spinner_proto.common.v1 import common_pb2 as c
from stage import Stage
from vault_server import VaultServer

ASKS = """
import os
from spinner_proto.runtime.v1 import runtime_pb2 as rt
def task(client, work):
    names = ("SPINNER_VAULT", "SPINNER_VAR", "SPINNER_CONN")
    print("left in the environment:", [name for name in os.environ if name.startswith(names)])
    for name in ("region", "pin"):
        found = client.call("GetVariable", rt.GetVariableRequest(name=name), rt.GetVariableResponse())
        print(name, found.found, "is", found.value)
    for name in ("shop", "api"):
        found = client.call("GetConnection", rt.GetConnectionRequest(connection_id=name), rt.GetConnectionResponse())
        print(name, found.found, found.host, "with", found.password)
"""


@pytest.fixture
def secrets_manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_aws_gives_objects_uris_and_texts(secrets_manager: str) -> None:
    client = boto3.client("secretsmanager", endpoint_url=secrets_manager, region_name="eu-west-1")
    client.create_secret(Name="spinner/connections/shop", SecretString='{"type": "mysql", "password": "p4ssword"}')
    client.create_secret(Name="spinner/variables/region", SecretString="eu")
    backend = AwsSecrets("spinner", secrets_manager, "eu-west-1")
    assert backend.connection("shop") == Credentials("mysql", password="p4ssword")
    assert (backend.variable("region"), backend.variable("none")) == ("eu", None)
    client.delete_secret(SecretId="spinner/variables/region")
    with pytest.raises(BackendFailed, match="spinner/variables/region: InvalidRequestException"):
        backend.variable("region")
    with pytest.raises(BackendFailed, match="Could not connect"):
        AwsSecrets("spinner", "http://127.0.0.1:1", "eu-west-1").variable("region")


def test_a_task_gets_them_in_order_and_its_log_has_none(stage: Stage) -> None:
    vault = VaultServer()
    vault.tokens["t-root"] = "spinner/"
    vault.data = {
        "spinner/connections/shop": {"host": "db", "password": "from-vault-word"},
        "spinner/variables/pin": {"value": "vault-pin"},
    }
    file = stage.folder / "secrets.yaml"
    file.write_text(
        "connections: {api: 'https://u:from-file-word@api'}\nvariables: {pin: file-pin, region: hidden-eu}\n"
    )
    stage.executor(
        secrets="environment,vault,file,spinner", secrets_file=file, vault_url=vault.url, vault_token="t-root",
        var_region="shown-nowhere",
    )  # fmt: skip
    order = stage.order("t", stage.bundle(asks=ASKS), "asks.py")
    stage.write(order)
    ended = stage.wait(order).ended
    assert ended.outcome == c.OUTCOME_SUCCESS
    text = stage.log_of(ended).decode()
    stars = {"region True is": 13, "pin True is": 9, "shop True db with": 15, "api True api with": 14}
    for words, count in stars.items():
        assert f"{words} {'*' * count}\n" in text
    assert "left in the environment: []" in text
    vault.close()


def test_a_vault_that_is_away_fails_the_try_with_its_name(stage: Stage) -> None:
    stage.executor(secrets="vault,spinner", vault_url="http://127.0.0.1:1", vault_token="x")
    order = stage.order("t", stage.bundle(asks=ASKS), "asks.py")
    stage.write(order)
    ended = stage.wait(order).ended
    assert ended.outcome == c.OUTCOME_FAILED
    assert "variable region: the secret back end 'vault' failed" in ended.message
