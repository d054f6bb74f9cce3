"""Secrets are found in order, kept for a while, and a back end that fails is named instead of passed over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from spinner_executor.adapters.journal import Journal, journal_cipher
from spinner_executor.adapters.secrets.chain import SecretChain
from spinner_executor.adapters.secrets.interface import BackendFailed
from spinner_executor.adapters.secrets.simple import EnvironmentSecrets, FileSecrets
from spinner_executor.domain.credentials import Credentials, Unreadable, parse
from spinner_executor.domain.masking import Masker


@pytest.mark.parametrize(
    ("stored", "found"),
    [
        ("mysql://a:p%40ss@db:3306/shop?ssl=1", Credentials("mysql", "db", 3306, "shop", "a", "p@ss", '{"ssl": "1"}')),
        ("aws://", Credentials("aws")),
        ("google-cloud-platform://", Credentials("google_cloud_platform")),
        ('{"conn_type": "http", "login": "a", "password": "b", "extra": {"token": "t"}}',
         Credentials("http", "", 0, "", "a", "b", '{"token": "t"}')),
        ({"type": "http", "username": "a", "port": "80"}, Credentials("http", "", 80, "", "a")),
    ],
)  # fmt: skip
def test_connections_are_read_from_uris_and_objects(stored: str, found: Credentials) -> None:
    assert parse(stored, "it") == found


@pytest.mark.parametrize("stored", ["hush-hush", "{hush", "http://host:hush/", '{"port": "hush"}', "[]", ["hush"]])
def test_what_cannot_be_read_is_named_without_its_text(stored: str) -> None:
    with pytest.raises(Unreadable) as refused:
        parse(stored, "connection shop")
    assert "connection shop" in str(refused.value)
    assert "hush" not in str(refused.value)


def test_what_looks_secret_in_extra_is_secret() -> None:
    extra = {"region": "eu", "api_key": "k3y!", "auth": {"a": 1, "b": [True, "deep"]}, "more": {"password": "inside"}}
    given = Credentials(login="me", password="p4ss", extra_json=json.dumps(extra))
    basic = "bWU6cDRzcw=="  # what `curl --verbose --user me:p4ss` shows
    assert given.secrets() == ["p4ss", basic, "k3y!", "1", "deep", "inside"]


def test_the_environment_gives_what_its_names_say() -> None:
    backend = EnvironmentSecrets(
        {"SPINNER_CONN_MY_DB_MAIN": "mysql://u:p@h/", "AIRFLOW_VAR_REGION": "us", "SPINNER_VAR_REGION": "eu"}
    )
    found = backend.connection("my-db.main")
    assert found is not None
    assert (found.login, found.password) == ("u", "p")
    assert (backend.variable("region"), backend.variable("other"), backend.connection("other")) == ("eu", None, None)


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yaml"
    backend = FileSecrets(path)
    with pytest.raises(BackendFailed, match="SPINNER_SECRETS_FILE"):
        backend.variable("region")
    path.write_text("variables: {region: eu, table: {a: 1}}\nconnections: {api: 'https://u:p@host'}\n")
    assert (backend.variable("region"), backend.variable("table")) == ("eu", '{"a": 1}')
    assert backend.connection("api") == Credentials("https", "host", login="u", password="p")
    path.write_text("variables: {region: us-east}\n")
    assert backend.variable("region") == "us-east"
    path.write_text("hush: [")
    with pytest.raises(BackendFailed) as refused:
        backend.variable("region")
    assert "hush" not in str(refused.value)


class Double:
    """A back end that counts, and fails when told to."""

    def __init__(self, name: str, cached: bool = False, **values: str) -> None:
        self.name, self.cached, self.values, self.asked, self.failure = name, cached, values, 0, ""

    def variable(self, name: str) -> str | None:
        self.asked += 1
        if self.failure:
            raise BackendFailed(self.failure)
        return self.values.get(name)

    def connection(self, connection_id: str) -> Credentials | None:
        return None


def test_the_first_back_end_that_has_it_gives_it() -> None:
    first, second = Double("first", a="1"), Double("second", a="2", b="3")
    chain = SecretChain([first, second])
    found = [chain.variable(name) for name in ("a", "b", "c")]
    assert [(one.value, one.backend) if one else None for one in found] == [("1", "first"), ("3", "second"), None]


def test_a_back_end_that_fails_is_named_and_not_passed_over() -> None:
    vault = Double("vault")
    vault.failure = "it is sealed"
    chain = SecretChain([vault, Double("spinner", a="old")])
    with pytest.raises(Unreadable, match="variable a: the secret back end 'vault' failed: it is sealed"):
        chain.variable("a")


def test_answers_are_kept_for_their_time_and_longer_while_the_back_end_is_away() -> None:
    now = [0.0]
    vault = Double("vault", cached=True, a="1")
    chain = SecretChain([vault], ttl_seconds=60, clock=lambda: now[0])

    def value() -> str | None:
        found = chain.variable("a")
        return found.value if found else None

    assert (value(), value(), chain.variable("none"), chain.variable("none"), vault.asked) == ("1", "1", None, None, 2)
    vault.values["a"] = "2"
    now[0] = 59
    assert value() == "1"
    now[0] = 61
    assert value() == "2"
    vault.failure = "away"
    now[0] = 61 + 599
    assert value() == "2"
    now[0] = 61 + 601
    with pytest.raises(Unreadable, match="away"):
        value()


def test_what_is_masked_survives_the_executor_but_not_in_plain_text(tmp_path: Path) -> None:
    folder = tmp_path / "try"
    Journal(folder, journal_cipher(tmp_path)).store_secrets(["s3cret-word"])
    assert b"s3cret" not in (folder / "secrets.bin").read_bytes()
    masker = Masker(Journal(folder, journal_cipher(tmp_path)).secrets())
    assert masker.mask(b"say s3cret-word") == b"say ***********"
    (tmp_path / "journal.key").unlink()
    with pytest.raises(ValueError, match="another key"):
        Journal(folder, journal_cipher(tmp_path)).secrets()


def test_a_log_whose_secrets_are_unknown_is_masked_as_a_whole() -> None:
    masker = Masker()
    masker.mask_everything()
    masker.add(["more"])
    assert masker.mask("ein Wört\n".encode()) == b"*** *****\n"
