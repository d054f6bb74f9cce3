"""`python -m spinner_webgateway` serves, `… rebuild-views` builds the views anew, `… openapi` prints the contract."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio.to_thread
import uvicorn
from spinner_eventlog.kafka import KafkaLog
from spinner_objectstore import open_store
from spinner_servicekit import grpc_server
from spinner_servicekit.addresses import split
from spinner_servicekit.app import App, run_async
from spinner_servicekit.settings import load

from spinner_webgateway.adapters import database
from spinner_webgateway.adapters.projector import Projector
from spinner_webgateway.api import grpc_service, web
from spinner_webgateway.api.rest import create_api
from spinner_webgateway.app import build, open_views, topics_for
from spinner_webgateway.settings import Settings

DRAIN_SECONDS = 2
SQLITE_THREADS = 4
SERVER_THREADS = 16
"""Threads that answer requests. SQLite's work holds the interpreter: more threads only keep the event loop waiting."""
SWITCH_SECONDS = 0.001


class _Server(uvicorn.Server):
    """Signals are the service's business, not the web server's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(address: str) -> socket.socket:
    host, port = split(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol unnamed asyncio leaves Nagle's algorithm on: every answer waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(f"HTTP can't listen at {address}: {error}. Set another SPINNER_HTTP_ADDRESS") from error
    return listener


async def serve(app: App[Settings]) -> None:
    """Serves HTTP, gRPC and the projection until the service is stopped."""
    settings = app.settings
    for noisy in ("alembic", "uvicorn.error", "elastic_transport"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    log = KafkaLog(settings.kafka, "webgateway", prefix=settings.topic_prefix)
    store = open_store(settings.object_store, settings.s3_endpoint or None)
    threads = SQLITE_THREADS if settings.database.startswith("sqlite") else SERVER_THREADS
    anyio.to_thread.current_default_thread_limiter().total_tokens = threads
    sys.setswitchinterval(SWITCH_SECONDS)
    parts = await asyncio.to_thread(build, settings, log, store)
    folder = Path(settings.ui_dist) if settings.ui_dist else web.default_folder()
    api = create_api(parts.gateway, folder, app.version)
    listener = _listen(settings.http_address)
    config = uvicorn.Config(
        api,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_keep_alive=75,
        server_header=False,
    )
    server = _Server(config)
    grpc_running = await grpc_server.serve_async(
        settings.grpc_address, [grpc_service.SERVICE], lambda target: grpc_service.register(target, parts.gateway)
    )
    followers = parts.start_following(app.crash)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        host, port = listener.getsockname()[:2]
        app.ready(grpc=grpc_running.address, http=f"{host}:{port}")
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        await grpc_running.stop(1.0)
        await parts.close()
        for follower in followers:
            await asyncio.to_thread(follower.join, 5.0)
        log.close()


def rebuild(settings: Settings) -> int:
    """Drops the views and projects the whole log again; returns the number of records. Stop the gateway first."""
    log = KafkaLog(settings.kafka, "webgateway-rebuild", prefix=settings.topic_prefix)
    database.drop_views(database.open_database(settings.database))
    projector = Projector(log, open_views(settings), topics_for(settings))
    try:
        return projector.catch_up()
    finally:
        projector.close()
        log.close()


def main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "openapi":
        import orjson

        print(orjson.dumps(create_api(None).openapi(), option=orjson.OPT_INDENT_2).decode())
    elif command == "rebuild-views":
        count = rebuild(load(Settings, "spinner-webgateway rebuild-views", sys.argv[2:]))
        print(f"Views rebuilt from {count:,} records.")
    else:
        run_async("webgateway", Settings, serve)


if __name__ == "__main__":
    main()
