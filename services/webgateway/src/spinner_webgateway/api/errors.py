"""Every error answer is a `Problem`: code, what is wrong and where, how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from spinner_servicekit.logs import logger
from starlette.exceptions import HTTPException

from spinner_webgateway.api.models import Problem
from spinner_webgateway.domain.problems import ProblemError

CONF_EXAMPLES = (
    'Send an object, for example {"conf": {"date": "2026-11-27", "full": true}}. Not valid: {"conf": "full"} (a text), '
    '{"conf": [1, 2]} (a list). Templates read it as {{ dag_run.conf["date"] }}.'
)
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "The request is wrong.",
        401: "Nobody is signed in.",
        403: "Not allowed.",
        404: "No such thing.",
        409: "It can't be done in the present state.",
        413: "Larger than a limit.",
        503: "A part behind the gateway doesn't answer.",
    }.items()
}
_log = logger("spinner.webgateway.api")


def problem_response(status: int, code: str, message: str, fix: str = "") -> Response:
    body = orjson.dumps({"code": code, "message": message, "fix": fix})
    return Response(body, status_code=status, media_type="application/json")


def install(app: FastAPI) -> None:
    """Makes every error of the app a `Problem`."""

    async def on_problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)  # noqa: S101 - registered for this class
        return problem_response(error.status, error.code, error.message, error.fix)

    async def on_invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
        return _invalid(error.errors())

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
        if error.status_code == 404:
            fix = "The API is described at /api/v1/openapi.json."
            return problem_response(404, "NOT_FOUND", f"There is nothing at {request.url.path}.", fix)
        if error.status_code == 405:
            fix = f"It takes {(error.headers or {}).get('allow', 'other methods')}."
            return problem_response(
                405, "METHOD_NOT_ALLOWED", f"{request.url.path} does not take {request.method}.", fix
            )
        return problem_response(error.status_code, "ERROR", str(error.detail))

    async def on_bug(request: Request, error: Exception) -> Response:
        _log.error("request_failed", path=request.url.path, method=request.method, exc_info=error)
        return problem_response(
            500,
            "INTERNAL",
            f"The gateway failed on {request.method} {request.url.path}: {type(error).__name__}.",
            "This is a fault of Spinner; the gateway's log has the details.",
        )

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_bug)


def _invalid(errors: Sequence[Any]) -> Response:
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    place = str(first["loc"][0])
    if "conf" in first["loc"]:
        kind = type(first.get("input")).__name__
        return problem_response(400, "CONF_NOT_OBJECT", f"conf must be a JSON object, but is a {kind}.", CONF_EXAMPLES)
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "")
        return problem_response(400, "JSON_INVALID", f"The body is not JSON: {reason}.", "Send a JSON object.")
    message = f"{place} {where or 'of the request'}: {first['msg']}"
    more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
    fix = "See /api/v1/openapi.json for what is expected."
    return problem_response(400, "REQUEST_INVALID", message + more, fix)
