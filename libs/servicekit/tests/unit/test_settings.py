"""Settings from the environment."""

from __future__ import annotations

import pytest
from pydantic import Field
from spinner_servicekit.settings import ServiceSettings, help_text, load


class Settings(ServiceSettings):
    grpc_address: str = Field(default="127.0.0.1:50099", description="where it listens")
    pods: int = Field(default=3, description="pods at once")
    notes: dict[str, str] = Field(default={}, description="JSON object: on every pod")


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for name in ("SPINNER_TIERS", "SPINNER_PODS", "SPINNER_NOTES", "SPINNER_LOG_LEVEL", "SPINNER_KAFKA"):
        monkeypatch.delenv(name, raising=False)


def test_variables_and_defaults(monkeypatch):
    monkeypatch.setenv("SPINNER_TIERS", "2, 3")
    monkeypatch.setenv("SPINNER_PODS", "7")
    settings = load(Settings, "spinner-x", [])
    assert (settings.tiers, settings.pods) == ((2, 3), 7)
    assert settings.kafka == "127.0.0.1:19092"
    assert settings.grpc_address == "127.0.0.1:50099"
    assert settings.object_store.startswith("file:///")


def test_a_dictionary_is_json_in_its_variable(monkeypatch):
    monkeypatch.setenv("SPINNER_NOTES", '{"team": "data"}')
    assert load(Settings, "spinner-x", []).notes == {"team": "data"}


def test_what_the_constructor_is_given_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv("SPINNER_PODS", "7")
    assert Settings(pods=8, notes={"a": "b"}).pods == 8


def test_help_names_every_variable_with_default_and_meaning(capsys):
    with pytest.raises(SystemExit) as stopped:
        load(Settings, "spinner-x", ["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.strip() == help_text(Settings, "spinner-x").strip()
    (line,) = [line for line in text.splitlines() if line.startswith("SPINNER_TIERS ")]
    assert line.split()[1] == "1,2,3"
    assert all(len(line.split()) > 2 for line in text.splitlines() if line.startswith("SPINNER_"))
    assert len([line for line in text.splitlines() if line.startswith("SPINNER_")]) == len(Settings.model_fields)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SPINNER_PODS", "many", "integer"),
        ("SPINNER_LOG_LEVEL", "loud", "'debug'"),
        ("SPINNER_TIERS", "a", "integer"),
        ("SPINNER_NOTES", "{a", "Expecting"),
    ],
)
def test_a_wrong_variable_is_explained(monkeypatch, capsys, variable, value, said):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as stopped:
        load(Settings, "spinner-x", [])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert variable in error and value in error and said in error and "--help" in error


def test_arguments_are_not_silently_ignored(capsys):
    with pytest.raises(SystemExit) as stopped:
        load(Settings, "spinner-x", ["--port", "1"])
    assert stopped.value.code == 2
    assert "--port" in capsys.readouterr().err
