"""The HTTP application: REST below /api/v1, health, metrics, the web UI."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Depends, FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.middleware.gzip import GZipMiddleware

from spinner_webgateway.api import (
    errors,
    routes_assets,
    routes_backfills,
    routes_dags,
    routes_decisions,
    routes_explain,
    routes_failures,
    routes_logs,
    routes_memory,
    routes_runs,
    routes_settings,
    routes_simulate,
    routes_system,
    routes_timings,
    web,
)
from spinner_webgateway.api.access import caller_of
from spinner_webgateway.api.answers import answer
from spinner_webgateway.api.body_limit import BodyLimit
from spinner_webgateway.api.context import Gateway
from spinner_webgateway.api.tracing import Tracing

PREFIX = "/api/v1"


def create_api(gateway: Gateway | None, ui_folder: Path | None = None, version: str = "0.1.0") -> FastAPI:
    """Returns the application. Without a gateway it can only describe itself."""
    app = FastAPI(
        title="Spinner",
        version=version,
        description="Views and actions of a Spinner installation. Errors are `Problem`; times are ISO 8601 in UTC.",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.gateway = gateway
    errors.install(app)
    api = APIRouter(prefix=PREFIX, responses=errors.RESPONSES, dependencies=[Depends(caller_of)])
    parts = (
        routes_system,
        routes_dags,
        routes_timings,
        routes_backfills,
        routes_runs,
        routes_decisions,
        routes_explain,
        routes_failures,
        routes_logs,
        routes_memory,
        routes_settings,
        routes_simulate,
        routes_assets,
    )
    for part in parts:
        api.include_router(part.router)
    app.include_router(api)
    _operations(app)
    web.install(app, ui_folder)
    app.add_middleware(GZipMiddleware, minimum_size=2048, compresslevel=1)
    app.add_middleware(BodyLimit)
    app.add_middleware(Tracing)
    return app


def _operations(app: FastAPI) -> None:
    @app.get("/healthz", include_in_schema=False)
    def health() -> Response:
        gateway: Gateway = app.state.gateway
        return answer({"status": "serving", "version": gateway.version, "views_lag": gateway.lag()})

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
