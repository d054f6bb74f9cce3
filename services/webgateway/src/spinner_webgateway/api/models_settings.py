"""Shapes of the REST API about pools, variables and connections; secrets are never given back."""

from __future__ import annotations

from pydantic import BaseModel, Field


class PoolInfo(BaseModel):
    name: str
    slots: int
    description: str = ""
    include_deferred: bool = False
    running: int = 0
    queued: int = 0


class VariableInfo(BaseModel):
    name: str
    value: str | None = Field(description="Null when it is a secret.")
    secret: bool = False
    description: str = ""


class ConnectionInfo(BaseModel):
    connection_id: str
    type: str
    host: str = ""
    port: int | None = None
    schema_: str = Field(default="", alias="schema")
    login: str = ""
    has_password: bool = False
    description: str = ""
