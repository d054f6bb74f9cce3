"""Pools, variables and connections: written to their topics whole, secrets encrypted before they leave the process."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography.fernet import Fernet
from spinner_eventlog.interface import Outgoing
from spinner_proto.portal.v1 import portal_pb2

from spinner_webgateway.adapters.commands import Commands
from spinner_webgateway.domain.problems import ProblemError
from spinner_webgateway.domain.who import Caller
from spinner_webgateway.domain.words import timestamp


class SettingsRecords:
    """Writes shared settings; each call returns when the change is durable."""

    def __init__(self, commands: Commands, secret_key: str) -> None:
        self._commands = commands
        self._fernet = Fernet(secret_key) if secret_key else None

    def encrypt(self, text: str) -> str:
        """Returns the Fernet token; raises the 503 problem when the installation has no key."""
        if self._fernet is None:
            raise ProblemError(
                503,
                "SECRET_KEY_MISSING",
                "Secrets can't be stored: the gateway has no key to encrypt them with.",
                "Set SPINNER_SECRET_KEY to the same Fernet key for the gateway and the executors.",
            )
        return self._fernet.encrypt(text.encode()).decode()

    async def put_pool(self, caller: Caller, name: str, slots: int, include_deferred: bool, description: str) -> None:
        pool = portal_pb2.Pool(
            name=name,
            slots=slots,
            include_deferred=include_deferred,
            description=description,
            time=timestamp(datetime.now(UTC)),
            actor=caller.actor(),
        )
        await self._commands.write(Outgoing("pools", name, pool), f"pool/{name}")

    async def put_variable(self, caller: Caller, name: str, value: str, secret: bool, description: str) -> None:
        variable = portal_pb2.Variable(
            name=name,
            value=self.encrypt(value) if secret else value,
            encrypted=secret,
            description=description,
            time=timestamp(datetime.now(UTC)),
            actor=caller.actor(),
        )
        await self._commands.write(Outgoing("variables", name, variable), f"variable/{name}")

    async def put_connection(self, caller: Caller, connection: portal_pb2.Connection) -> None:
        """Writes a connection whose secrets are already encrypted."""
        connection.time.CopyFrom(timestamp(datetime.now(UTC)))
        connection.actor.CopyFrom(caller.actor())
        name = connection.connection_id
        await self._commands.write(Outgoing("connections", name, connection), f"connection/{name}")

    async def remove(self, topic: str, name: str, subject: str) -> None:
        """Writes a tombstone."""
        await self._commands.write(Outgoing(topic, name, None), subject)
