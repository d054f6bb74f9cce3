"""A pod gets a secret only once the next owner of its try would mask it, too, whatever disk that has."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from spinner_eventlog.interface import Fenced
from spinner_executor.adapters.journal import Journal
from spinner_executor.api.secret_calls import SecretCalls
from spinner_executor.control.context import Context
from spinner_executor.control.trylogs import restore_secrets
from spinner_executor.domain.masking import Masker
from spinner_proto.orders.v1.orders_pb2 import TaskGrant
from spinner_proto.runtime.v1 import runtime_pb2 as rt
from spinner_servicekit.errors import Rejected

KEY = Fernet.generate_key().decode()


class Keys:
    """The part of a context that seals."""

    seal, unseal = Context.seal, Context.unseal

    def __init__(self, key: str) -> None:
        self.settings: Any = SimpleNamespace(secret_key=SecretStr(key))


def a_try(folder: Path) -> Any:
    """A try on a disk that is empty."""
    journal = Journal(folder, Fernet(Fernet.generate_key()))
    situation = SimpleNamespace(ended_segment=-1, segment=0)
    return SimpleNamespace(
        key="d/r/t/-1/1", masker=Masker(), journal=journal, granting=None, end=None, situation=situation
    )


def restored(folder: Path, sealed: bytes, key: str) -> Masker:
    tried = a_try(folder)
    context: Any = Keys(key)
    restore_secrets(context, tried, TaskGrant(sealed_secrets=sealed))
    masker: Masker = tried.masker
    return masker


def test_the_next_owner_masks_what_the_grant_names_on_any_disk(tmp_path: Path) -> None:
    context: Any = Keys(KEY)
    sealed = Context.seal(context, Masker(["hunter22"]).words)
    assert b"hunter22" not in sealed
    assert restored(tmp_path, sealed, KEY).mask(b"it is hunter22!") == b"it is ********!"


@pytest.mark.parametrize(("sealing", "opening"), [("", KEY), (KEY, ""), (KEY, Fernet.generate_key().decode())])
def test_what_cannot_be_known_is_masked_as_a_whole(tmp_path: Path, sealing: str, opening: str) -> None:
    context: Any = Keys(sealing)
    sealed = Context.seal(context, ["hunter22"])
    assert restored(tmp_path, sealed, opening).mask(b"it is hunter22!") == b"** ** *********"


def calls(grant: Any, shares_files: bool) -> SecretCalls:
    found = SimpleNamespace(value="hunter22", backend="vault")
    context = SimpleNamespace(backend=SimpleNamespace(shares_files=shares_files), pool=None)
    controller: Any = SimpleNamespace(context=context, ownership=SimpleNamespace(grant=grant))
    ready = SimpleNamespace(is_set=lambda: True)
    shared: Any = SimpleNamespace(ready=ready, stored_variable=lambda _name: None)
    chain: Any = SimpleNamespace(variable=lambda _name: found)
    return SecretCalls(controller, shared, chain)


def test_a_secret_waits_for_the_grant_that_names_it(tmp_path: Path) -> None:
    async def body() -> None:
        tried, asked = a_try(tmp_path), rt.GetVariableRequest(name="password")

        def grant(of: Any, _end: Any) -> None:
            of.granting = asyncio.get_running_loop().create_future()

        secrets = calls(grant, shares_files=False)
        answers = [asyncio.ensure_future(secrets.get_variable(tried, asked)) for _ in range(2)]
        done, _ = await asyncio.wait(answers, timeout=0.2)
        assert not done and tried.masker.words == ["hunter22"]
        tried.granting.set_result(None)
        assert [(await answer).value for answer in answers] == ["hunter22"] * 2

    asyncio.run(body())


def test_an_executor_that_lost_the_try_gives_no_secret(tmp_path: Path) -> None:
    async def body() -> None:
        def grant(of: Any, _end: Any) -> None:
            of.granting = asyncio.get_running_loop().create_future()
            of.granting.set_exception(Fenced("another owner"))

        with pytest.raises(Rejected) as refused:
            await calls(grant, shares_files=False).get_variable(a_try(tmp_path), rt.GetVariableRequest(name="p"))
        assert refused.value.code == "UNAVAILABLE"

    asyncio.run(body())


def test_local_workers_wait_for_nothing(tmp_path: Path) -> None:
    def grant(_of: Any, _end: Any) -> None:
        raise AssertionError("a local try's secrets are on the disk that its log is on")

    answer = asyncio.run(calls(grant, shares_files=True).get_variable(a_try(tmp_path), rt.GetVariableRequest(name="p")))
    assert answer.value == "hunter22"
