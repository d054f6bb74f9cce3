"""REST: pools, variables, connections."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, Field
from spinner_proto.portal.v1 import portal_pb2

from spinner_webgateway.adapters.tables.settings import connections, pools, variables
from spinner_webgateway.adapters.views import lists
from spinner_webgateway.api import models_settings
from spinner_webgateway.api.access import CallerDependency
from spinner_webgateway.api.answers import answer
from spinner_webgateway.api.routes_dags import GatewayDependency
from spinner_webgateway.domain.problems import ProblemError

router = APIRouter(tags=["settings"])
Name = Annotated[str, Path(min_length=1, max_length=250)]
VALUE_LIMIT = 512 * 1024


class PoolRequest(BaseModel):
    slots: int = Field(ge=-1, le=1_000_000, description="-1: no limit.")
    description: str = ""
    include_deferred: bool = False


class VariableRequest(BaseModel):
    value: str = Field(max_length=VALUE_LIMIT)
    secret: bool = False
    description: str = ""


class ConnectionRequest(BaseModel):
    type: str
    host: str = ""
    port: int | None = Field(default=None, ge=0, le=65535)
    schema_: str = Field(default="", alias="schema")
    login: str = ""
    password: str | None = Field(default=None, description="Null: as it was.")
    extra: dict[str, Any] | None = Field(default=None, description="Null: as it was.")
    description: str = ""


def _not_found(what: str, name: str) -> ProblemError:
    return ProblemError(404, f"{what.upper()}_NOT_FOUND", f"There is no {what} {name!r}.", f"See the list of {what}s.")


@router.get("/pools", response_model=list[models_settings.PoolInfo])
def list_pools(gateway: GatewayDependency, caller: CallerDependency) -> Response:
    gateway.access.check(caller, "pool.list", "pools")
    return answer(gateway.query(lambda c: lists.pool_list(c, gateway.definitions)))


@router.get("/pools/{name}", response_model=models_settings.PoolInfo)
def get_pool(name: Name, gateway: GatewayDependency, caller: CallerDependency) -> Response:
    gateway.access.check(caller, "pool.read", f"pool/{name}")
    found = gateway.query(lambda c: lists.pool_list(c, gateway.definitions))
    pool = next((pool for pool in found if pool["name"] == name), None)
    if pool is None:
        raise _not_found("pool", name)
    return answer(pool)


@router.put("/pools/{name}", response_model=models_settings.PoolInfo)
async def put_pool(name: Name, body: PoolRequest, gateway: GatewayDependency, caller: CallerDependency) -> Response:
    with gateway.access.act(caller, "pool.set", f"pool/{name}", slots=body.slots):
        await gateway.settings_records.put_pool(caller, name, body.slots, body.include_deferred, body.description)
    return answer({"name": name, **body.model_dump(), "running": 0, "queued": 0})


@router.delete("/pools/{name}", status_code=204)
async def delete_pool(name: Name, gateway: GatewayDependency, caller: CallerDependency) -> None:
    if name in lists.LOCAL_POOLS:
        raise ProblemError(409, "POOL_NEEDED", f"The pool {name} can't be removed.", "Change its slots instead.")
    if await gateway.read(lambda c: lists.row_of(c, pools, name)) is None:
        raise _not_found("pool", name)
    with gateway.access.act(caller, "pool.delete", f"pool/{name}"):
        await gateway.settings_records.remove_pool(name)


@router.get("/variables", response_model=list[models_settings.VariableInfo])
def list_variables(gateway: GatewayDependency, caller: CallerDependency) -> Response:
    gateway.access.check(caller, "variable.list", "variables")
    return answer(gateway.query(lists.variable_list))


@router.get("/variables/{name}", response_model=models_settings.VariableInfo)
def get_variable(name: Name, gateway: GatewayDependency, caller: CallerDependency) -> Response:
    gateway.access.check(caller, "variable.read", f"variable/{name}")
    row = gateway.query(lambda c: lists.row_of(c, variables, name))
    if row is None:
        raise _not_found("variable", name)
    return answer(lists.variable(row))


@router.put("/variables/{name}", response_model=models_settings.VariableInfo)
async def put_variable(
    name: Name, body: VariableRequest, gateway: GatewayDependency, caller: CallerDependency
) -> Response:
    with gateway.access.act(caller, "variable.set", f"variable/{name}", secret=body.secret):
        await gateway.settings_records.put_variable(caller, name, body.value, body.secret, body.description)
    value = None if body.secret else body.value
    return answer({"name": name, "value": value, "secret": body.secret, "description": body.description})


@router.delete("/variables/{name}", status_code=204)
async def delete_variable(name: Name, gateway: GatewayDependency, caller: CallerDependency) -> None:
    if await gateway.read(lambda c: lists.row_of(c, variables, name)) is None:
        raise _not_found("variable", name)
    with gateway.access.act(caller, "variable.delete", f"variable/{name}"):
        await gateway.settings_records.remove("variables", name, f"variable/{name}")


@router.get("/connections", response_model=list[models_settings.ConnectionInfo])
def list_connections(gateway: GatewayDependency, caller: CallerDependency) -> Response:
    gateway.access.check(caller, "connection.list", "connections")
    return answer(gateway.query(lists.connection_list))


@router.get("/connections/{connection_id}", response_model=models_settings.ConnectionInfo)
def get_connection(connection_id: Name, gateway: GatewayDependency, caller: CallerDependency) -> Response:
    gateway.access.check(caller, "connection.read", f"connection/{connection_id}")
    row = gateway.query(lambda c: lists.row_of(c, connections, connection_id))
    if row is None:
        raise _not_found("connection", connection_id)
    return answer(lists.connection_info(row))


@router.put("/connections/{connection_id}", response_model=models_settings.ConnectionInfo)
async def put_connection(
    connection_id: Name, body: ConnectionRequest, gateway: GatewayDependency, caller: CallerDependency
) -> Response:
    """Creates or replaces a connection; secrets that are null stay as they were and are never given back."""
    records = gateway.settings_records
    with gateway.access.act(caller, "connection.set", f"connection/{connection_id}", type=body.type):
        known = await gateway.read(lambda c: lists.row_of(c, connections, connection_id)) or {}
        kept_password, kept_extra = known.get("encrypted_password", ""), known.get("encrypted_extra", "")
        message = portal_pb2.Connection(
            connection_id=connection_id,
            type=body.type,
            host=body.host,
            port=body.port or 0,
            schema=body.schema_,
            login=body.login,
            encrypted_password=kept_password if body.password is None else _secret(records, body.password),
            encrypted_extra=kept_extra if body.extra is None else _secret(records, orjson.dumps(body.extra).decode()),
            description=body.description,
        )
        await records.put_connection(caller, message)
    shape = {
        "connection_id": connection_id,
        "type": body.type,
        "host": body.host,
        "port": body.port,
        "schema": body.schema_,
        "login": body.login,
        "has_password": bool(message.encrypted_password),
        "description": body.description,
    }
    return answer(shape)


def _secret(records: Any, text: str) -> str:
    return records.encrypt(text) if text else ""


@router.delete("/connections/{connection_id}", status_code=204)
async def delete_connection(connection_id: Name, gateway: GatewayDependency, caller: CallerDependency) -> None:
    if await gateway.read(lambda c: lists.row_of(c, connections, connection_id)) is None:
        raise _not_found("connection", connection_id)
    with gateway.access.act(caller, "connection.delete", f"connection/{connection_id}"):
        await gateway.settings_records.remove("connections", connection_id, f"connection/{connection_id}")
