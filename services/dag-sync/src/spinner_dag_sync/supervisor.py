"""Keeps one thread a bundle, and follows the file of bundles while it changes.

A bundle that fails is tried again at its next interval, later and later up to a minute while the log or the object
store is away; it never holds up another one. A bundle that is no longer configured takes its DAGs with it.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from spinner_eventlog.interface import Transient
from spinner_objectstore import Unavailable
from spinner_proto.definitions.v1 import definitions_pb2 as pb

from spinner_dag_sync import metrics
from spinner_dag_sync.bundle_sync import BundleSync, Reader, Shared
from spinner_dag_sync.domain.config import Bundle, BundlesConfig, read_config
from spinner_dag_sync.domain.ledger import BUNDLE_PATH

_logger = logging.getLogger(__name__)
_MAX_BACKOFF_SECONDS = 60.0
# The bundle name under which problems of the configuration as a whole are reported.
CONFIGURATION = "(configuration)"
ReaderFactory = Callable[[Bundle, Path], Reader]


@dataclass(slots=True)
class _Running:
    sync: BundleSync
    thread: threading.Thread
    work: Path
    stop: threading.Event = field(default_factory=threading.Event)
    # Set when there is something to do before the next interval.
    wake: threading.Event = field(default_factory=threading.Event)


class Supervisor:
    """Thread-safe. `watch` blocks until `stop`."""

    def __init__(self, config_file: Path, work: Path, shared: Shared, reader_of: ReaderFactory) -> None:
        self._file, self._work, self._shared, self._reader_of = config_file, work, shared, reader_of
        self._running: dict[str, _Running] = {}
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._text: str | None = None
        self._applied = False

    def watch(self, interval_seconds: float = 2.0) -> None:
        """Applies the file of bundles now and whenever it changes, until `stop`."""
        while not self._stopping.is_set():
            try:
                self.look()
            except (Transient, Unavailable) as error:
                _logger.warning("The log is away; trying again: %s", error)
            self._stopping.wait(interval_seconds)

    def look(self) -> None:
        """Reads the file of bundles and applies it if it changed. Raises Transient; call again then."""
        try:
            text = self._file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            text = f"\0{error}"
        if text == self._text and self._applied:
            return
        self._text, self._applied = text, False
        if text.startswith("\0"):
            message = f"The file of bundles {self._file} can't be read: {text[1:]}"
            self._report_config(message, "Create it, or correct SPINNER_BUNDLES.")
        else:
            config = read_config(text, self._file.resolve().parent)
            self._apply(config)
        self._applied = True

    def syncs(self) -> list[BundleSync]:
        with self._guard:
            return [running.sync for _, running in sorted(self._running.items())]

    def sync_of(self, name: str) -> BundleSync | None:
        with self._guard:
            running = self._running.get(name)
        return running.sync if running is not None else None

    def wake(self, name: str) -> None:
        """Has a bundle's next lap begin at once. Doesn't block."""
        with self._guard:
            running = self._running.get(name)
        if running is not None:
            running.wake.set()

    def stop(self) -> None:
        """Ends all threads after their current step. Blocks for a few seconds at most."""
        self._stopping.set()
        with self._guard:
            running, self._running = list(self._running.values()), {}
        for entry in running:
            entry.stop.set()
            entry.wake.set()
        for entry in running:
            entry.thread.join(3)

    def _apply(self, config: BundlesConfig) -> None:
        wanted = {bundle.name: bundle for bundle in config.bundles}
        with self._guard:
            for name in list(self._running):
                if wanted.get(name) != self._running[name].sync.bundle and (config.complete or name in wanted):
                    self._end(self._running.pop(name))
            for name, bundle in wanted.items():
                if name not in self._running and not self._stopping.is_set():
                    self._running[name] = self._begin(bundle)
        with self._shared.lock:
            ledger, now = self._shared.ledger, self._shared.clock()
            for problem in config.problems:
                if not problem.name:
                    continue
                report = pb.ParseError(
                    bundle=problem.name,
                    relative_path=BUNDLE_PATH,
                    error_type="BundleConfigError",
                    message=f"Bundle {problem.name} in {self._file.name}: {problem.message}",
                    fix=problem.fix,
                )
                _logger.error("%s", report.message)
                self._shared.commit(ledger.bundle_error(problem.name, report, now))
            if config.complete:
                for name in ledger.bundles() - config.names - {CONFIGURATION}:
                    _logger.info("Bundle %s is no longer configured; its DAGs are removed", name)
                    self._shared.commit(ledger.without_bundle(name, now))
        whole = [problem for problem in config.problems if not problem.name]
        if whole:
            self._report_config(f"{self._file.name}: {whole[0].message}", whole[0].fix)
        else:
            with self._shared.lock:
                self._shared.commit(self._shared.ledger.bundle_error(CONFIGURATION, None, self._shared.clock()))

    def _report_config(self, message: str, fix: str) -> None:
        _logger.error("%s. %s", message, fix)
        report = pb.ParseError(
            bundle=CONFIGURATION, relative_path=BUNDLE_PATH, error_type="BundleConfigError", message=message, fix=fix
        )
        with self._shared.lock:
            self._shared.commit(self._shared.ledger.bundle_error(CONFIGURATION, report, self._shared.clock()))

    def _begin(self, bundle: Bundle) -> _Running:
        work = self._work / bundle.name
        shutil.rmtree(work / "tree", ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        sync = BundleSync(bundle, self._reader_of(bundle, work), self._shared)
        running = _Running(sync, threading.Thread(name=f"bundle-{bundle.name}"), work)
        running.thread = threading.Thread(target=self._laps, args=(running,), name=f"bundle-{bundle.name}", daemon=True)
        running.thread.start()
        _logger.info("Bundle %s (%s) is synchronized every %g s", bundle.name, bundle.kind, bundle.interval)
        return running

    def _end(self, running: _Running) -> None:
        running.stop.set()
        running.wake.set()
        running.thread.join(running.sync.bundle.timeout_seconds * 2)

    def _laps(self, running: _Running) -> None:
        sync, failures = running.sync, 0
        while not running.stop.is_set():
            running.wake.clear()
            try:
                with metrics.LAP_SECONDS.labels(sync.bundle.name).time():
                    sync.lap()
                failures = 0
            except (Transient, Unavailable) as error:
                failures += 1
                sync.status.last_error = str(error)
                metrics.FAILED_LAPS.labels(sync.bundle.name).inc()
                _logger.warning("Bundle %s: %s", sync.bundle.name, error)
            except RuntimeError:
                # The parser is closed while the service stops.
                if running.stop.is_set() or self._stopping.is_set():
                    return
                raise
            metrics.observe(sync)
            delay = sync.bundle.interval * 2**failures if failures else sync.bundle.interval
            running.wake.wait(min(delay, max(_MAX_BACKOFF_SECONDS, sync.bundle.interval)))
