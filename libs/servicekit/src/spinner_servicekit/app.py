"""The life of a service process.

    def main(app: App[Settings]) -> None:
        server = grpc_server.serve(...)
        app.on_stop(server.stop)
        app.ready(grpc=server.address)
        app.wait()

    if __name__ == "__main__":
        run("scheduler", Settings, main)

SIGTERM and SIGINT stop it gracefully: `wait` returns, then the `on_stop` callbacks run in reverse order. An exception
in `main` or in any thread is a bug: it is logged, the process ends with code 1 and is restarted by whoever supervises
it. A second signal, or a stop that takes longer than the grace time, ends it at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import importlib.metadata
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar

import uvloop

from spinner_servicekit import logs, metrics, traces
from spinner_servicekit.settings import ServiceSettings, load

S = TypeVar("S", bound=ServiceSettings)

GRACE_SECONDS = 15.0


class App(Generic[S]):
    """A running service. Thread-safe."""

    def __init__(self, name: str, settings: S) -> None:
        self.name = name
        self.settings = settings
        self.version = _version(name)
        self.stopping = threading.Event()
        self._log = logging.getLogger(f"spinner.{name}")
        self._callbacks: list[Callable[[], object]] = []
        self._addresses: dict[str, str] = {}
        self._failure: BaseException | None = None
        self._wake: Callable[[], object] | None = None

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Called once when the service stops, last registered first."""
        self._callbacks.append(callback)

    def ready(self, grpc: str = "", http: str = "") -> None:
        """Says that the service does its work, and where it listens."""
        self._addresses |= {"grpc": grpc, "http": http}
        self.state("ready")
        self._log.info("ready grpc=%s http=%s version=%s", grpc or "-", http or "-", self.version)

    def state(self, state: str) -> None:
        """Writes `state` (starting, ready, stopping) to the status file, if one is set."""
        if not self.settings.status_file:
            return
        path = Path(self.settings.status_file)
        path.parent.mkdir(parents=True, exist_ok=True)
        status = {
            "name": self.name,
            "grpc": self._addresses.get("grpc", ""),
            "http": self._addresses.get("http", ""),
            "metrics": self._addresses.get("metrics", ""),
            "version": self.version,
            "pid": os.getpid(),
            "state": state,
        }
        scratch = path.with_name(f"{path.name}.{os.getpid()}")
        scratch.write_text(json.dumps(status))
        scratch.replace(path)

    def stop(self) -> None:
        """Asks the service to stop; returns at once. Safe in signal handlers."""
        self.stopping.set()
        if self._wake is not None:
            self._wake()

    def crash(self, failure: BaseException) -> None:
        """Ends the process with code 1 because of a bug met in some thread."""
        if self._failure is None:
            self._failure = failure
            self._log.critical("crash: %s", failure, exc_info=failure)
        self.stop()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Blocks until the service should stop; True then, False after the time-out."""
        return self.stopping.wait(timeout_seconds)

    def _start(self) -> None:
        signal.signal(signal.SIGTERM, self._signalled)
        signal.signal(signal.SIGINT, self._signalled)
        threading.excepthook = lambda args: self.crash(args.exc_value or RuntimeError("thread failed"))
        self._addresses["metrics"] = metrics.serve(self.settings.metrics_address) or ""
        traces.configure(f"spinner-{self.name}", self.settings.otlp_endpoint)
        self.state("starting")

    def _signalled(self, number: int, _: FrameType | None) -> None:
        if self.stopping.is_set():
            os._exit(128 + number)
        self.stop()

    def _finish(self) -> int:
        self.stopping.set()
        guard = threading.Timer(GRACE_SECONDS, self._overdue)
        guard.daemon = True
        guard.start()
        with contextlib.suppress(OSError):
            self.state("stopping")
        while self._callbacks:
            try:
                self._callbacks.pop()()
            except Exception as error:  # noqa: BLE001 - the others must run too
                self.crash(error)
        traces.shutdown()
        guard.cancel()
        code = 1 if self._failure is not None else 0
        self._log.info("stopped code=%d", code)
        return code

    def _overdue(self) -> None:
        self._log.error("stopping takes longer than %g s: ending now", GRACE_SECONDS)
        faulthandler.dump_traceback(all_threads=True)
        os._exit(1)


def run(
    name: str, settings_type: type[S], main: Callable[[App[S]], object], arguments: list[str] | None = None
) -> None:
    """Runs a service until it is stopped; never returns. `main(app)` builds it and then waits for `app.wait()`."""
    app = _prepare(name, settings_type, arguments)
    try:
        main(app)
    except Exception as error:  # noqa: BLE001 - reported, then exit code 1
        app.crash(error)
    _exit(app._finish())


def run_async(
    name: str,
    settings_type: type[S],
    main: Callable[[App[S]], Coroutine[Any, Any, object]],
    arguments: list[str] | None = None,
) -> None:
    """As `run`, with a coroutine, which is cancelled at the stop (it may close in `finally` what it opened)."""
    app = _prepare(name, settings_type, arguments)

    async def supervised() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        app._wake = lambda: loop.call_soon_threadsafe(stop.set)
        if app.stopping.is_set():
            stop.set()
        work = asyncio.ensure_future(main(app))
        waiting = asyncio.ensure_future(stop.wait())
        await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        app._wake = None
        if not work.done():
            work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(supervised())
    except Exception as error:  # noqa: BLE001 - reported, then exit code 1
        app.crash(error)
    _exit(app._finish())


def _prepare(name: str, settings_type: type[S], arguments: list[str] | None) -> App[S]:
    settings = load(settings_type, f"spinner-{name}", arguments)
    logs.configure(name, settings.log_level, settings.log_format)
    app = App(name, settings)
    try:
        app._start()
    except (OSError, ValueError) as error:
        print(f"spinner-{name}: can't start: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    return app


def _exit(code: int) -> None:
    """Ends even when a library left a non-daemon thread behind."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(f"spinner-{name}")
    except importlib.metadata.PackageNotFoundError:
        return importlib.metadata.version("spinner-servicekit")
