"""`up`, `down` and `status`: the embedded stack as one thing."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from spinner_eventlog.topics import create_topics
from spinner_servers import kafka
from spinner_servers.install import run
from spinner_servers.process import ServerError, log_tail

from spinner_local import supervision, ui
from spinner_local.home import Home, State, choose_ports, repository
from spinner_local.services import CLUSTER, NAMES, SERVICES, TIERS, address, environment, write_bundles

READY_SECONDS = 90.0
_POLL_SECONDS = 0.03


@dataclass(frozen=True)
class ServiceStatus:
    """One line of `spinner status`. `state`: running, starting, stopped or failing (crashes again and again)."""

    name: str
    state: str
    address: str
    version: str
    pid: int
    uptime_seconds: float
    memory_mib: float


class Report:
    """Says each step and its seconds as it ends."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self.done(what, time.monotonic() - begin)

    def done(self, what: str, seconds: float) -> None:
        self.say(f"  ✓ {what:<58} {seconds:6.1f} s")


def say(text: str) -> None:
    """Prints a line at once."""
    print(text, file=sys.stdout, flush=True)


def up(home: Home, report: Report | None = None, build_ui: bool = True) -> str:
    """Starts what isn't running and returns the UI's address. Idempotent; blocks until every service is ready.

    Raises ServerError with the log's end of what doesn't get ready within READY_SECONDS; the rest keeps running
    then, and `up` may be repeated.
    """
    report = report or Report(say)
    begin = time.monotonic()
    with home.locked():
        state = home.load()
        if supervision.process(state) is not None and supervision.programs(home):
            return _complete(home, state, report)
        home.make()
        _sweep(state, report)
        state.ports = choose_ports(state.ports)
        home.save(state)
        write_bundles(home)
        root = repository() if build_ui else None
        with ThreadPoolExecutor(2) as pool:
            built = pool.submit(_build_ui, root, home) if root and _has_ui(root) and not ui.is_current(root) else None
            if built:
                report.say("  … building the web UI (a minute or two the first time)")
            _start_kafka_and_services(home, state, report)
            _finish_ui(built, report)
    report.say(f"\nSpinner is up after {time.monotonic() - begin:.1f} s: {ui_address(state)}")
    return ui_address(state)


def down(home: Home, report: Report | None = None) -> bool:
    """Stops everything of this home, workers included; data stays. Idempotent. Returns whether anything was running."""
    report = report or Report(say)
    if not home.root.exists():
        return False
    with home.locked():
        state = home.load()
        supervisord = supervision.process(state)
        if supervisord is not None:
            with report.step("services and Kafka stopped"):
                _stop_supervised(home, supervisord)
        swept = _sweep(state, report)
        home.topics_ready.unlink(missing_ok=True)
        home.socket.unlink(missing_ok=True)
        for service in SERVICES:
            home.status_file(service.name).unlink(missing_ok=True)
        return supervisord is not None or swept > 0


def status(home: Home) -> list[ServiceStatus]:
    """Kafka and every service, also when nothing runs. Doesn't block longer than a second."""
    state = home.load()
    programs = supervision.programs(home) if supervision.process(state) is not None else {}
    return [_status_of(home, state, name, programs.get(name)) for name in NAMES]


def as_json(rows: list[ServiceStatus]) -> list[dict[str, Any]]:
    """The stable form of `spinner status --json`."""
    return [asdict(row) for row in rows]


def rebuild_views(home: Home, report: Report | None = None) -> None:
    """Fills the gateway's database anew from the log, the gateway being stopped meanwhile. Blocks; ServerError."""
    report = report or Report(say)
    with home.locked():
        state = home.load()
        if supervision.process(state) is None or not _answers(state):
            raise ServerError("The stack isn't running.")
        gateway = next(service for service in SERVICES if service.name == "webgateway")
        log = home.logs / "views-rebuild.log"
        supervision.stop(home, [gateway.name])
        try:
            with report.step("views rebuilt from the log"):
                command = [sys.executable, "-m", gateway.module, "rebuild-views"]
                run(command, log, environment(home, state, gateway))
        finally:
            home.status_file(gateway.name).unlink(missing_ok=True)
            begin = time.monotonic()
            supervision.ensure_started(home)
        _wait(home, {gateway.name: lambda: _service_file(home, gateway.name) is not None}, begin, report)


def ui_address(state: State) -> str:
    """Where the web UI and the REST API are."""
    return f"http://{address(state, 'webgateway')}"


def _start_kafka_and_services(home: Home, state: State, report: Report) -> None:
    begin = time.monotonic()
    launch = kafka.prepare(home.kafka, state.ports["kafka"], state.ports["kafka-controller"])
    (home.kafka / "command.json").write_text(json.dumps(list(launch.command)))
    home.topics_ready.unlink(missing_ok=True)
    for name in NAMES:
        home.status_file(name).unlink(missing_ok=True)
        (home.run / f"{name}.starts").unlink(missing_ok=True)
    supervision.start(home, state)
    _wait(home, {"kafka": lambda: _answers(state)}, begin, report)
    with report.step("topics created from the registry"):
        created = create_topics(launch.address, [CLUSTER], TIERS)
        home.topics_ready.write_text(f"{len(created)} new\n")
    _wait_for_services(home, begin, report)


def _complete(home: Home, state: State, report: Report) -> str:
    begin = time.monotonic()
    restarted = supervision.ensure_started(home)
    missing = [s.name for s in SERVICES if _service_file(home, s.name) is None]
    if not restarted and not missing and _answers(state):
        report.say(f"Spinner is already up: {ui_address(state)}")
        return ui_address(state)
    _wait(home, {"kafka": lambda: _answers(state)}, begin, report)
    if not home.topics_ready.exists():
        create_topics(address(state, "kafka"), [CLUSTER], TIERS)
        home.topics_ready.write_text("\n")
    _wait_for_services(home, begin, report)
    report.say(f"\nSpinner is up again: {ui_address(state)}")
    return ui_address(state)


def _wait_for_services(home: Home, begin: float, report: Report) -> None:
    def is_ready(name: str) -> Callable[[], bool]:
        return lambda: _service_file(home, name) is not None

    _wait(home, {service.name: is_ready(service.name) for service in SERVICES}, begin, report)


def _wait(home: Home, checks: dict[str, Callable[[], bool]], begin: float, report: Report) -> None:
    deadline = time.monotonic() + READY_SECONDS
    waiting = dict(checks)
    while waiting:
        for name in [name for name, ready in waiting.items() if ready()]:
            del waiting[name]
            report.done(f"{name} ready", time.monotonic() - begin)
        if time.monotonic() > deadline:
            raise ServerError("\n".join(_why_not_ready(home, name) for name in waiting))
        time.sleep(_POLL_SECONDS if waiting else 0)


def _why_not_ready(home: Home, name: str) -> str:
    log = home.logs / f"{name}.log"
    return f"{name} isn't ready after {READY_SECONDS:.0f} s. The end of {log}:\n{log_tail(log) or '(empty)'}"


def _answers(state: State) -> bool:
    try:
        return kafka.answers(state.ports["kafka"])
    except (OSError, KeyError):
        return False


def _service_file(home: Home, name: str) -> dict[str, Any] | None:
    """What a live service wrote to its SPINNER_STATUS_FILE once it was ready; None before, and after it died."""
    try:
        content: dict[str, Any] = json.loads(home.status_file(name).read_text())
    except (OSError, ValueError):
        return None
    alive = content.get("state") == "ready" and psutil.pid_exists(int(content.get("pid") or 0))
    return content if alive else None


def _status_of(home: Home, state: State, name: str, program: supervision.Program | None) -> ServiceStatus:
    words = {"running": "running", "starting": "starting", "backoff": "failing", "fatal": "failing"}
    word = words.get(program.state, "stopped") if program else "stopped"
    content = _service_file(home, name) or {}
    if word == "running" and name != "kafka" and not content:
        word = "starting"
    if word == "running" and name == "kafka" and not _answers(state):
        word = "starting"
    pid = program.pid if program else 0
    return ServiceStatus(
        name=name,
        state=word,
        address=str(content.get("http") or content.get("grpc") or (address(state, name) if state.ports else "")),
        version=kafka.VERSION if name == "kafka" else str(content.get("version") or _version()),
        pid=pid,
        uptime_seconds=round(program.start_seconds, 1) if program else 0.0,
        memory_mib=_memory_mib(pid),
    )


def _memory_mib(pid: int) -> float:
    """Proportional share (PSS) of a process and its children where the system tells it, else resident size."""
    if not pid:
        return 0.0
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            try:
                memory = process.memory_full_info()
                total += getattr(memory, "pss", 0) or memory.rss
            except psutil.Error:
                continue
    except psutil.Error:
        return 0.0
    return round(total / 1_048_576, 1)


def _version() -> str:
    from importlib.metadata import version

    return version("spinner-local")


def _stop_supervised(home: Home, supervisord: psutil.Process) -> None:
    family = supervisord.children(recursive=True)
    try:
        supervision.stop(home, [service.name for service in SERVICES])
        supervision.stop(home, ["kafka"])  # after those that may still write to it
    except Exception as error:  # noqa: BLE001 - whatever supervisord answers, the processes must end
        say(f"  ! supervisord: {error}; ending the processes one by one")
    supervision.shut_down(home, supervisord)
    _end([process for process in family if process.is_running()])


def _sweep(state: State, report: Report) -> int:
    """Ends processes of this stack that no supervisor owns any more: workers, fork servers, leftovers of a crash."""
    left = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("SPINNER_STACK") == state.marker:
                left.append(process)
        except (psutil.Error, OSError):
            continue
    left = [process for process in left if process.pid not in _own_family()]
    if left:
        with report.step(f"{len(left)} leftover processes ended"):
            _end(left)
    return len(left)


def _own_family() -> set[int]:
    # A task may run `spinner down`: its own parents carry the marker too, and must not end before it.
    return {parent.pid for parent in psutil.Process().parents()}


def _end(processes: list[psutil.Process]) -> None:
    for number, seconds in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 5.0)):
        for process in processes:
            try:
                process.send_signal(number)
            except psutil.Error:
                continue
        _, processes = psutil.wait_procs(processes, timeout=seconds)
        if not processes:
            return


def _has_ui(root: Path) -> bool:
    return (ui.folder(root) / "package-lock.json").exists()


def _build_ui(root: Path, home: Home) -> float:
    begin = time.monotonic()
    ui.build(root, home.logs / "ui-build.log")
    return time.monotonic() - begin


def _finish_ui(built: Future[float] | None, report: Report) -> None:
    if built is None:
        return
    try:
        report.done("web UI built", built.result())
    except ServerError as error:
        report.say(f"  ! the web UI is not built, everything else works: {error}")
