"""What all parts of the gRPC service share: who asks, refusals, reading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import orjson
import sqlalchemy as sa
from spinner_proto.gateway.v1 import gateway_pb2_grpc
from spinner_servicekit.errors import Rejected

from spinner_webgateway.api.context import Gateway
from spinner_webgateway.api.errors import CONF_EXAMPLES
from spinner_webgateway.domain.problems import ProblemError, invalid
from spinner_webgateway.domain.who import Caller

R = TypeVar("R")
CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "FAILED_PRECONDITION",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def rejected(problem: ProblemError) -> Rejected:
    """Returns the refusal that gRPC's bootstrap turns into a rich status."""
    status = "ALREADY_EXISTS" if problem.code == "RUN_EXISTS" else CODES.get(problem.status, "INTERNAL")
    return Rejected(status, problem.message, problem.fix, problem.code)


class GatewayMethods(gateway_pb2_grpc.GatewayServiceServicer):
    """Base of the parts of the service."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def _caller(self) -> Caller:
        return self._gateway.access.caller("grpc")

    def _check(self, action: str, subject: str) -> None:
        try:
            self._gateway.access.check(self._caller(), action, subject)
        except ProblemError as problem:
            raise rejected(problem) from problem

    async def _read(self, read: Callable[[sa.Connection], R]) -> R:
        try:
            return await self._gateway.read(read)
        except ProblemError as problem:
            raise rejected(problem) from problem


def limit_of(page_size: int) -> int:
    return min(max(1, page_size or 100), 500)


def conf_of(text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        conf = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise invalid("CONF_NOT_OBJECT", f"conf_json is not JSON: {error}.", CONF_EXAMPLES) from error
    if not isinstance(conf, dict):
        raise invalid("CONF_NOT_OBJECT", f"conf_json must be an object, but is a {type(conf).__name__}.", CONF_EXAMPLES)
    return conf
