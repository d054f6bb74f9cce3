"""The calls of TaskRuntime about connections and variables: found in the chain of secret back ends, masked in the log.

What comes from another back end than Spinner's own is secret; of Spinner's own variables those that are encrypted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from spinner_eventlog.interface import Fenced, Outgoing
from spinner_proto.common.v1.common_pb2 import Actor
from spinner_proto.portal.v1.portal_pb2 import Variable
from spinner_proto.runtime.v1 import runtime_pb2 as rt
from spinner_servicekit.errors import Rejected

from spinner_executor.adapters.secrets.chain import SecretChain
from spinner_executor.adapters.secrets.simple import OwnSecrets
from spinner_executor.adapters.views import SharedView
from spinner_executor.control.controller import Controller
from spinner_executor.control.tries import Try
from spinner_executor.domain.clock import timestamp

R = TypeVar("R")


class SecretCalls:
    """Runs on the event loop; back ends are asked in the pool. Methods raise Unreadable and Rejected."""

    def __init__(self, controller: Controller, shared: SharedView, chain: SecretChain) -> None:
        self._controller = controller
        self._context = controller.context
        self._shared = shared
        self._chain = chain

    async def _ask(self, function: Callable[[str], R], identity: str) -> R:
        def ask() -> R:
            if not self._shared.ready.is_set():
                self._shared.wait_ready()
            return function(identity)

        return await asyncio.get_running_loop().run_in_executor(self._context.pool, ask)

    async def _mask(self, tried: Try, values: list[str]) -> None:
        """Returns when also an executor on another machine would mask them; only then may the worker have them."""
        fresh = tried.masker.add(values)
        if fresh:
            tried.journal.store_secrets(tried.masker.words)
        if self._context.backend.shares_files:
            return
        s = tried.situation
        if fresh:
            self._controller.ownership.grant(tried, tried.end if s.ended_segment == s.segment else None)
        try:
            if tried.granting is not None:
                await asyncio.shield(tried.granting)
        except Fenced as error:
            raise Rejected("UNAVAILABLE", str(error), reason="NOT_OWNER") from error

    def _is_secret(self, name: str, backend: str) -> bool:
        stored = self._shared.stored_variable(name)
        return backend != OwnSecrets.name or (stored is not None and stored.encrypted)

    async def get_variable(self, tried: Try, request: rt.GetVariableRequest) -> rt.GetVariableResponse:
        found = await self._ask(self._chain.variable, request.name)
        if found is None:
            return rt.GetVariableResponse(found=False)
        if self._is_secret(request.name, found.backend):
            await self._mask(tried, [found.value])
        return rt.GetVariableResponse(found=True, value=found.value)

    async def set_variable(self, tried: Try, request: rt.SetVariableRequest) -> rt.SetVariableResponse:
        found = await self._ask(self._chain.variable, request.name)
        if found is not None and found.backend != OwnSecrets.name:
            raise Rejected(
                "FAILED_PRECONDITION",
                f"variable {request.name!r} comes from the secret back end '{found.backend}'",
                fix="change it there, or use another name",
                reason="VARIABLE_ELSEWHERE",
            )
        shared = self._shared
        variable = None
        if not request.delete:
            stored = shared.stored_variable(request.name)
            secret = stored is not None and stored.encrypted
            variable = Variable(
                name=request.name,
                value=shared.encrypt(request.value) if secret else request.value,
                encrypted=secret,
                description=stored.description if stored is not None else "",
                time=timestamp(datetime.now(UTC)),
                actor=Actor(name=f"task:{tried.key}", via="task"),
            )
            if secret:
                await self._mask(tried, [request.value])
        await self._context.reporter.send(Outgoing("variables", request.name, variable))
        shared.set_local(request.name, variable)
        return rt.SetVariableResponse()

    async def get_connection(self, tried: Try, request: rt.GetConnectionRequest) -> rt.GetConnectionResponse:
        found = await self._ask(self._chain.connection, request.connection_id)
        if found is None:
            return rt.GetConnectionResponse(found=False)
        this = found.value
        await self._mask(tried, this.secrets())
        return rt.GetConnectionResponse(
            found=True, type=this.type, host=this.host, port=this.port, schema=this.schema,
            login=this.login, password=this.password, extra_json=this.extra_json,
        )  # fmt: skip
