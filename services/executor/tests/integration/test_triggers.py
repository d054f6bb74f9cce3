"""Triggers by the thousand: moved on death, seen at least once, resumed once; one that misbehaves harms no other."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from cryptography.fernet import Fernet
from owner import triggerers
from spinner.core.values import encode_json
from spinner_eventlog.interface import Outgoing
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.inbox.v1.inbox_pb2 import TaskReport
from spinner_proto.orders.v1 import orders_pb2 as o
from spinner_proto.portal.v1.portal_pb2 import Connection, Variable
from stage import Stage, until
from triggerer_hosts import Hosts

KEY = Fernet.generate_key()
WAITS = """
import asyncio, os, sys, time
from pathlib import Path
from spinner.triggers import BaseTrigger, TriggerEvent

class Flag(BaseTrigger):
    "Fires when a file is there; asks often."
    def __init__(self, path, seconds=0.25):
        self.path, self.seconds = path, seconds
    async def run(self):
        while not Path(self.path).exists():
            await asyncio.sleep(self.seconds)
        yield TriggerEvent("VERSION")

class Raises(BaseTrigger):
    async def run(self):
        raise TimeoutError("no such queue")
        yield

class Blocks(BaseTrigger):
    async def run(self):
        print("about to block")
        time.sleep(60)
        yield TriggerEvent("late")

class Exits(BaseTrigger):
    async def run(self):
        await asyncio.sleep(0.1)
        os._exit(3)
        yield

class Quits(BaseTrigger):
    async def run(self):
        async def child():
            sys.exit("enough")
        await asyncio.create_task(child())
        yield

class Leaks(BaseTrigger):
    async def run(self):
        kept = []
        while True:
            kept.append(b"x" * (8 << 20))
            await asyncio.sleep(0.01)
        yield

class Asks(BaseTrigger):
    async def run(self):
        from spinner import Variable
        from spinner.connections import Connection
        inline = Variable.get("password")
        beside = await asyncio.to_thread(Connection.get, "db")
        print("it is", inline, "at", beside.host)
        try:
            Variable.set("password", "other")
        except Exception as error:
            yield TriggerEvent([inline, beside.host, str(error)])

class Talks(BaseTrigger):
    def __init__(self, path):
        self.path = path
    async def run(self):
        import logging
        for n in range(3):
            print("line", n)
        logging.getLogger("shop").warning("from logging")
        print("x" * 3_000_000)
        while not Path(self.path).exists():
            await asyncio.sleep(0.05)
        yield TriggerEvent({"big": "y" * 400_000})
"""
RESUMED = """
def task(client, work):
    with open({folder!r} + "/" + work.order.try_key.task_id, "a") as file:
        file.write(work.order.resume_event_json.decode() + work.order.resume_error + "\\n")
"""


class Resuming:
    """Deferred orders, and a scheduler's part: the first event of a segment orders the next, later ones are dropped."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.folder = stage.folder / "resumed"
        self.folder.mkdir()
        self.bundle = self.bundled("one")
        self.fired: dict[str, TaskReport] = {}
        self.events: Counter[str] = Counter()
        self.orders: dict[str, o.TaskOrder] = {}
        self.to_resume: set[str] = set()
        self._read = 0

    def bundled(self, version: str) -> c.BundleRef:
        resumed = RESUMED.format(folder=str(self.folder))
        return self.stage.bundle(dag=resumed, waits=WAITS.replace("VERSION", version))

    def deferred(self, task_id: str, trigger: str, arguments: dict[str, object] | None = None, **more: object) -> None:
        order = self.stage.order(task_id, more.pop("bundle", self.bundle), "dag.py", **more)
        order.desired_state, order.segment = o.DESIRED_STATE_DEFERRED, 1
        order.trigger_class, order.trigger_arguments_json = trigger, encode_json(arguments or {}, "arguments")
        self.orders[task_id] = order

    def write(self) -> None:
        self.stage.write(*self.orders.values())

    def turn(self) -> None:
        """Reads reports, and resumes the tries of `to_resume`."""
        reports = self.stage.poll()
        fresh = []
        for report in reports[self._read :]:
            task_id = report.try_key.task_id
            if report.WhichOneof("kind") == "trigger_fired":
                self.events[task_id] += 1
                if task_id not in self.fired:
                    self.fired[task_id] = report
                    if task_id in self.to_resume:
                        fresh.append(task_id)
        self._read = len(reports)
        if fresh:
            for task_id in fresh:
                order, fired = self.orders[task_id], self.fired[task_id].trigger_fired
                order.desired_state, order.segment = o.DESIRED_STATE_RUNNING, 2
                order.resume_event_json, order.resume_error = fired.payload_json, fired.error
            self.stage.write(*(self.orders[task_id] for task_id in fresh))

    def wait_fired(self, task_ids: list[str], seconds: float = 20.0) -> None:
        def all_fired() -> bool:
            self.turn()
            return all(task_id in self.fired for task_id in task_ids)

        until(all_fired, "the triggers have fired", seconds)

    def resumed(self) -> dict[str, list[str]]:
        return {path.name: path.read_text().splitlines() for path in self.folder.iterdir()}

    def log(self, task_id: str) -> str:
        (found,) = self.stage.folder.glob(f"data/tries/*/{_folder(self.stage.key(self.orders[task_id]))}/log")
        return found.read_text()


def _folder(key: str) -> str:
    from spinner_executor.domain.keys import folder_name

    return folder_name(key)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    made = Hosts(tmp_path, KEY.decode())
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(params=["here", "elsewhere"])
def stage(request: pytest.FixtureRequest, stage: Stage) -> Stage:
    """Executors that run triggers themselves, and such that know two triggerers."""
    if request.param == "elsewhere":
        hosts: Hosts = request.getfixturevalue("hosts")
        stage.settings |= {"secret_key": KEY.decode(), "triggerers": f"{hosts.start()},{hosts.start()}"}
    return stage


@pytest.fixture
def resuming(stage: Stage) -> Resuming:
    return Resuming(stage)


def test_thousands_of_triggers_survive_the_deaths_of_triggerer_and_executor(
    stage: Stage, resuming: Resuming, tmp_path: Path
) -> None:
    executor = stage.executor(executor_parallelism=4)
    flags = [f"flag{n}" for n in range(3000)]
    moments = [f"moment{n}" for n in range(60)]
    resuming.to_resume = {*flags[:60], *moments}
    moment = datetime.now(UTC) + timedelta(seconds=4)
    for name in flags:
        resuming.deferred(name, "waits.Flag", {"path": str(tmp_path / "go"), "seconds": 1})
    for name in moments:
        resuming.deferred(name, "spinner.triggers.temporal.DateTimeTrigger", {"moment": moment})
    resuming.write()
    until(lambda: len(triggerers(executor.pid)) == 2, "one process for the bundle, one for the SDK's triggers")
    killed = triggerers(executor.pid)
    for process in killed:
        process.kill()
    until(lambda: len(set(triggerers(executor.pid)) - set(killed)) == 2, "they are started again")
    until(lambda: resuming.turn() or len(resuming.resumed()) > 5, "the moment is there and some are resumed", 30)
    assert all(process.num_threads() < 16 for process in triggerers(executor.pid))
    assert max(process.memory_info().rss for process in triggerers(executor.pid)) < 100 << 20
    executor.kill()
    executor.wait()
    assert not resuming.fired.keys() & set(flags)
    (tmp_path / "go").touch()  # events of a time when nobody is there
    stage.executor(executor_parallelism=4)
    resuming.wait_fired(flags + moments, 40)
    assert {report.trigger_fired.error for report in resuming.fired.values()} == {""}
    for name in resuming.to_resume:
        assert stage.wait(resuming.orders[name], seconds=40).ended.outcome == c.OUTCOME_SUCCESS
    assert {name: len(lines) for name, lines in resuming.resumed().items()} == dict.fromkeys(resuming.to_resume, 1)


def test_a_trigger_that_fails_says_so_in_its_task_and_its_log(stage: Stage, resuming: Resuming, tmp_path: Path) -> None:
    stage.executor()
    resuming.deferred("raises", "waits.Raises")
    resuming.deferred("quits", "waits.Quits")
    resuming.deferred("missing", "waits.NoSuchTrigger")
    resuming.deferred("talks", "waits.Talks", {"path": str(tmp_path / "go")})
    resuming.write()
    resuming.wait_fired(["raises", "quits", "missing"])
    errors = {name: report.trigger_fired.error for name, report in resuming.fired.items()}
    assert errors["raises"] == "The trigger waits.Raises failed: TimeoutError: no such queue"
    assert "SystemExit: enough" in errors["quits"]
    assert "'waits.NoSuchTrigger' cannot be imported" in errors["missing"]
    assert "in run\n    raise TimeoutError" in resuming.log("raises")
    until(lambda: "left out" in resuming.log("talks"), "what it says is bounded")
    log = resuming.log("talks")
    assert log.startswith("line 0\nline 1\nline 2\n[")
    assert "WARNING shop: from logging" in log
    assert len(log) < 1_200_000
    (tmp_path / "go").touch()
    resuming.wait_fired(["talks"])
    assert "bytes, more than the limit" in resuming.fired["talks"].trigger_fired.error


def test_a_trigger_reads_variables_and_connections_and_its_log_hides_them(stage: Stage, resuming: Resuming) -> None:
    secret = Fernet(KEY).encrypt(b"hunter2hunter2").decode()
    stage.producer.send(Outgoing("variables", "password", Variable(name="password", value=secret, encrypted=True)))
    stage.producer.send(Outgoing("connections", "db", Connection(connection_id="db", type="mysql", host="db.example")))
    stage.executor(secret_key=KEY.decode())
    resuming.deferred("asks", "waits.Asks")
    resuming.to_resume = {"asks"}
    resuming.write()
    resuming.wait_fired(["asks"])
    event = json.loads(resuming.fired["asks"].trigger_fired.payload_json)
    assert event[:2] == ["hunter2hunter2", "db.example"]
    assert "a trigger cannot call SetVariable" in event[2]
    log = stage.log_of(stage.wait(resuming.orders["asks"]).ended).decode()
    assert "it is ************** at db.example" in log


def test_triggers_that_block_exit_or_leak_are_set_apart(stage: Stage, resuming: Resuming, tmp_path: Path) -> None:
    executor = stage.executor(triggerer_memory="200Mi")
    good = [f"good{n}" for n in range(50)]
    for name in good:
        resuming.deferred(name, "waits.Flag", {"path": str(tmp_path / "go")})
    for name in ("Blocks", "Exits", "Leaks"):
        resuming.deferred(name, f"waits.{name}")
    resuming.write()

    def peaks() -> bool:
        resuming.turn()
        sizes.append(max((process.memory_info().rss for process in triggerers(executor.pid)), default=0))
        return {"Exits", "Leaks"} <= resuming.fired.keys()

    sizes: list[int] = []
    until(peaks, "what ends its process again and again has failed", 40)
    assert max(sizes) < 500 << 20
    assert "ended its process with status 3, 3 times" in resuming.fired["Exits"].trigger_fired.error
    assert "MiB of the 200 MiB for triggers, 3 times" in resuming.fired["Leaks"].trigger_fired.error
    assert "in a process apart from others" in resuming.log("Exits")
    until(lambda: "it harms no other here" in resuming.log("Blocks"), "the blocking one is told of")
    log = resuming.log("Blocks")
    assert log.count("about to block") == 2
    assert "blocked the event loop" in log
    assert "waits.py" in log  # where it did
    assert "in run" in log
    assert not resuming.fired.keys() & set(good)
    (tmp_path / "go").touch()
    begun = time.monotonic()
    resuming.wait_fired(good)
    assert time.monotonic() - begun < 5
    assert {resuming.fired[name].trigger_fired.error for name in good} == {""}
    assert "Blocks" not in resuming.fired


def test_triggers_are_of_their_runs_bundle_version(stage: Stage, resuming: Resuming, tmp_path: Path) -> None:
    executor = stage.executor()
    (tmp_path / "go").touch()
    never = {"path": str(tmp_path / "never")}
    resuming.deferred("old", "waits.Flag", {"path": str(tmp_path / "go")})
    resuming.deferred("new", "waits.Flag", {"path": str(tmp_path / "go")}, bundle=resuming.bundled("two"))
    resuming.deferred("own", "spinner.triggers.file.FileTrigger", {"filepath": str(tmp_path / "never")})
    other = resuming.bundled("three")
    resuming.deferred("own too", "spinner.triggers.file.FileTrigger", {"filepath": never["path"]}, bundle=other)
    resuming.write()
    resuming.wait_fired(["old", "new"])
    events = {name: report.trigger_fired.payload_json for name, report in resuming.fired.items()}
    assert events == {"old": b'"one"', "new": b'"two"'}
    assert len(triggerers(executor.pid)) == 3  # the SDK's own triggers share one


def user_code_of(hosts: Hosts) -> list[psutil.Process]:
    """The processes of triggers on the hosts."""
    return [child for host in hosts.processes if host.poll() is None for child in psutil.Process(host.pid).children()]


@pytest.mark.parametrize("stage", ["elsewhere"], indirect=True)
def test_a_machine_of_triggers_that_dies_loses_nothing(
    stage: Stage, resuming: Resuming, hosts: Hosts, tmp_path: Path
) -> None:
    executor = stage.executor()
    flags = [f"flag{n}" for n in range(200)]
    resuming.to_resume = set(flags[:3])
    for name in flags:
        resuming.deferred(name, "waits.Flag", {"path": str(tmp_path / "go")})
    resuming.write()
    until(lambda: len(user_code_of(hosts)) == 1, "a host runs them", 60)
    (running,) = user_code_of(hosts)
    dead = next(host for host in hosts.processes if host.pid == running.ppid())
    dead.kill()
    dead.wait()
    until(lambda: not running.is_running() or running.status() == psutil.STATUS_ZOMBIE, "its processes end", 60)
    until(lambda: len(user_code_of(hosts)) == 1, "the other one runs them", 60)
    (tmp_path / "go").touch()
    resuming.wait_fired(flags, 60)
    assert {report.trigger_fired.error for report in resuming.fired.values()} == {""}
    for name in resuming.to_resume:
        assert stage.wait(resuming.orders[name], seconds=60).ended.outcome == c.OUTCOME_SUCCESS
    executor.terminate()
    executor.wait(60)
    until(lambda: not user_code_of(hosts), "nothing of an executor that stopped is left", 60)


@pytest.mark.parametrize("stage", ["elsewhere"], indirect=True)
def test_an_executor_with_another_key_gets_no_triggerer(stage: Stage, resuming: Resuming, hosts: Hosts) -> None:
    stage.executor(secret_key=Fernet.generate_key().decode())
    resuming.deferred("flag", "waits.Flag", {"path": "/nowhere"})
    resuming.write()
    logs = list(stage.folder.glob("triggerer-*.log"))
    until(lambda: any("another SPINNER_SECRET_KEY was refused" in log.read_text() for log in logs), "it says so", 60)
    assert not user_code_of(hosts)
