"""What a home remembers and promises."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from spinner_local.home import PORTS, Home, State, choose_ports
from spinner_local.launch import pause_seconds
from spinner_local.services import SERVICES, environment, write_bundles


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.make()
    return home


def test_the_secret_key_is_made_once_and_only_the_owner_reads_it(home: Home) -> None:
    key = home.secret_key()
    assert home.secret_key() == key
    assert Fernet(key).decrypt(Fernet(key).encrypt(b"text")) == b"text"
    assert (home.root / "secret.key").stat().st_mode & 0o777 == 0o600


def test_a_damaged_memory_counts_as_none(home: Home) -> None:
    home.save(State(ports={"kafka": 1}))
    assert home.load().ports == {"kafka": 1}
    (home.root / "state.json").write_text('{"ports": ')
    assert home.load().ports == {}


def test_ports_stay_unless_somebody_else_listens_there() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        busy = other.getsockname()[1]
        chosen = choose_ports({"kafka": busy, "rca": 51234})
    assert set(chosen) == set(PORTS)
    assert chosen["kafka"] > busy
    assert chosen["rca"] == 51234
    assert len(set(chosen.values())) == len(chosen)


def test_a_deep_home_still_gets_a_usable_socket(tmp_path: Path) -> None:
    assert len(str(Home(tmp_path / ("deep" * 40)).socket)) < 100


def test_users_variables_reach_services_but_the_addresses_are_the_stacks(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPINNER_DATABASE", "mysql+pymysql://u:p@127.0.0.1/views")
    monkeypatch.setenv("SPINNER_KAFKA", "elsewhere:9092")
    state = State(ports={name: 20000 + number for number, name in enumerate(PORTS)})
    for service in SERVICES:
        settings = environment(home, state, service)
        assert settings["SPINNER_DATABASE"] == "mysql+pymysql://u:p@127.0.0.1/views"
        assert settings["SPINNER_KAFKA"] == f"127.0.0.1:{state.ports['kafka']}"


def test_an_edited_bundles_file_is_kept(home: Home) -> None:
    write_bundles(home)
    assert "bundles:" in (home.root / "bundles.yaml").read_text()
    (home.root / "bundles.yaml").write_text("bundles: []\n")
    write_bundles(home)
    assert (home.root / "bundles.yaml").read_text() == "bundles: []\n"


@pytest.mark.parametrize(
    ("starts", "seconds"),
    [
        ([], 0.0),
        ([99.0], 0.0),
        ([98.0, 99.0], 0.25),
        ([97.0, 98.0, 99.0], 0.5),
        ([1.0, 99.0], 0.0),
        (list(range(80, 100)), 10.0),
    ],
)
def test_only_crashes_in_a_row_are_held_back(starts: list[float], seconds: float) -> None:
    assert pause_seconds(starts, 100.0) == seconds


def test_state_is_plain_json(home: Home) -> None:
    home.save(State(ports={"kafka": 1}, marker="m"))
    assert json.loads((home.root / "state.json").read_text())["marker"] == "m"
