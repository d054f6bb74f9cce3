"""An end that the executor knows is reported, whoever goes away and whatever fails meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from spinner_eventlog.interface import RecordTooLarge
from spinner_executor.adapters.journal import Journal
from spinner_executor.adapters.logs import TryLog
from spinner_executor.control.context import Context
from spinner_executor.control.ends import Ends
from spinner_executor.control.tries import Try
from spinner_executor.domain.masking import Masker
from spinner_executor.domain.model import Desired, Exit, Situation, WorkerState
from spinner_executor.domain.reconcile import Action, reconcile
from spinner_proto.common.v1 import common_pb2 as c
from spinner_proto.inbox.v1.inbox_pb2 import TaskDeferred, TaskEnded, TaskReport
from spinner_proto.orders.v1.orders_pb2 import TaskOrder
from spinner_proto.runtime.v1.runtime_pb2 import FinishRequest

MOST = 1000


class Scene:
    """Ends of one started try, with an object store that waits for `let_go`, and a log of its node that may fail."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor) -> None:
        key = c.TryKey(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1)
        log = TryLog(folder / "try" / "log", "d/r/t/-1/1", key, "task_logs-spinner", Masker())
        log.say("it printed\n")
        situation = Situation(Desired.RUNNING, 0, worker_state=WorkerState.ALIVE, worker_segment=0, granted_segment=0)
        journal = Journal(log.path.parent, Fernet(Fernet.generate_key()))
        self.tried = Try("d/r/t/-1/1", 0, TaskOrder(try_key=key), situation, log, journal, worker="w")
        self.reports: list[TaskReport] = []
        self.let_go = threading.Event()
        self.uploading = threading.Event()
        self.node_fails = False
        self.node: tuple[bytes, ...] = ()
        self.beside: Exit | None = None
        self.taken: Exit | None = None
        self.gone = asyncio.Event()
        context: Any = SimpleNamespace(
            backend=SimpleNamespace(
                disruption=lambda _: None,
                why_crashed=self._why_crashed,
                why_taken=self._why_taken,
                read_log=self._read_log,
                stop=lambda *_, **__: None,
                shares_files=False,
            ),
            reporter=SimpleNamespace(report=self._report, post=lambda _: None),
            objects=SimpleNamespace(put=self._put),
            usage=SimpleNamespace(learn=lambda *_: None),
            metrics=SimpleNamespace(ends=SimpleNamespace(labels=lambda _: SimpleNamespace(inc=lambda: None))),
            pool=pool,
            loop=asyncio.get_running_loop(),
            advertised_address="",
            _tasks=set(),
        )
        for name in ("spawn", "report_of", "_finished"):
            setattr(context, name, getattr(Context, name).__get__(context))
        self.ends = Ends(context, self._grant, lambda _: None, lambda _: None)

    def _grant(self, _tried: Try, _end: TaskReport) -> asyncio.Future[None]:
        granted = asyncio.get_running_loop().create_future()
        granted.set_result(None)
        return granted

    async def _why_crashed(self, _worker: str) -> Exit | None:
        return self.beside

    async def _why_taken(self, _worker: str) -> Exit | None:
        await asyncio.wait_for(self.gone.wait(), 30)
        return self.taken

    async def _read_log(self, _worker: str) -> Any:
        if self.node_fails:
            raise OSError("the disk is full")
        for piece in self.node:
            yield piece

    def _put(self, _key: str, _data: bytes) -> None:
        self.uploading.set()
        assert self.let_go.wait(30)

    async def _report(self, _order: TaskOrder, report: TaskReport, _trace: str) -> None:
        if report.ByteSize() > MOST:
            raise RecordTooLarge(f"the record has {report.ByteSize()} bytes")
        self.reports.append(TaskReport.FromString(report.SerializeToString()))

    async def reported(self) -> TaskReport:
        async with asyncio.timeout(30):
            while not self.reports:
                await asyncio.sleep(0.005)
        return self.reports[0]


def in_scene(folder: Path, body: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        with ThreadPoolExecutor(2) as pool:
            scene = Scene(folder, pool)
            try:
                await body(scene)
            finally:
                scene.let_go.set()

    asyncio.run(run())


def test_a_worker_that_dies_while_it_waits_for_the_answer_to_its_finish_has_ended(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        told = FinishRequest(ended=TaskEnded(outcome=c.OUTCOME_FAILED, message="user code failed"))
        call = asyncio.create_task(scene.ends.finish(scene.tried, told))
        await asyncio.get_running_loop().run_in_executor(None, scene.uploading.wait, 30)
        call.cancel()  # what gRPC does to the call of a client that is gone
        with pytest.raises(asyncio.CancelledError):
            await call
        situation = scene.tried.situation
        situation.worker_state, situation.exit = WorkerState.GONE, Exit(signal=9)
        scene.ends.perform(scene.tried, reconcile(situation))
        scene.let_go.set()
        report = await scene.reported()
        assert report.ended.outcome == c.OUTCOME_FAILED and report.ended.log_bytes == len("it printed\n")
        await scene.ends.finish(scene.tried, told)
        assert len(scene.reports) == 1 and reconcile(situation) is Action.NOTHING

    in_scene(tmp_path, body)


def test_an_end_whose_log_cannot_be_completed_is_reported(tmp_path: Path) -> None:
    async def body(scene: Scene) -> None:
        scene.let_go.set()
        scene.node_fails = True
        scene.tried.situation.exit = Exit(signal=9)
        scene.ends.perform(scene.tried, Action.DECLARE_END)
        report = await scene.reported()
        assert report.ended.outcome == c.OUTCOME_CRASHED and report.ended.log_key

    in_scene(tmp_path, body)


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        (FinishRequest(ended=TaskEnded(outcome=c.OUTCOME_FAILED, message="x" * 2 * MOST)), c.OUTCOME_FAILED),
        (
            FinishRequest(ended=TaskEnded(outcome=c.OUTCOME_SUCCESS, skip_task_ids=["x" * 2 * MOST])),
            c.OUTCOME_CONFIG_ERROR,
        ),
        (FinishRequest(deferred=TaskDeferred(trigger_class="x" * 2 * MOST)), c.OUTCOME_CONFIG_ERROR),
    ],
)
def test_an_end_that_no_record_can_hold_is_a_failure_that_says_so(
    tmp_path: Path, told: FinishRequest, outcome: int
) -> None:
    async def body(scene: Scene) -> None:
        scene.let_go.set()
        await scene.ends.finish(scene.tried, told)
        report = await scene.reported()
        assert report.ended.outcome == outcome and "too large" in report.ended.message

    in_scene(tmp_path, body)


def test_the_log_of_a_worker_that_only_repeats_its_end_comes_from_its_node(tmp_path: Path) -> None:
    """It had sent all of it to an executor that died, whose disk this one doesn't have."""

    async def body(scene: Scene) -> None:
        scene.tried.log.path.unlink()
        scene.node = (b"it printed\n", b"and more\n")
        scene.let_go.set()
        await scene.ends.finish(scene.tried, FinishRequest(ended=TaskEnded(outcome=c.OUTCOME_SUCCESS)))
        report = await scene.reported()
        assert report.ended.log_key
        assert scene.tried.log.path.read_bytes() == b"it printed\nand more\n"

    in_scene(tmp_path, body)


@pytest.mark.parametrize(
    ("beside", "outcome", "message"),
    [
        (None, c.OUTCOME_CRASHED, "the container was killed"),
        (Exit(outcome=c.OUTCOME_OUT_OF_MEMORY, message="at its limit"), c.OUTCOME_OUT_OF_MEMORY, "at its limit"),
    ],
)
def test_why_the_container_beside_a_worker_died_is_asked_of_its_place(
    tmp_path: Path, beside: Exit | None, outcome: int, message: str
) -> None:
    async def body(scene: Scene) -> None:
        scene.beside = beside
        scene.let_go.set()
        told = TaskEnded(outcome=c.OUTCOME_CRASHED, message="the container was killed", exit_code=1)
        await scene.ends.finish(scene.tried, FinishRequest(ended=told))
        ended = (await scene.reported()).ended
        assert (ended.outcome, ended.message) == (outcome, message)

    in_scene(tmp_path, body)


@pytest.mark.parametrize(
    ("taken", "outcome", "message"),
    [
        (None, c.OUTCOME_DELETED, "told to end"),
        (Exit(outcome=c.OUTCOME_TIMED_OUT, message="DeadlineExceeded"), c.OUTCOME_TIMED_OUT, "DeadlineExceeded"),
    ],
)
def test_a_worker_that_was_told_to_end_goes_before_it_is_known_why(
    tmp_path: Path, taken: Exit | None, outcome: int, message: str
) -> None:
    async def body(scene: Scene) -> None:
        scene.taken = taken
        scene.let_go.set()
        told = TaskEnded(outcome=c.OUTCOME_DELETED, message="told to end", exit_code=1)
        async with asyncio.timeout(30):
            await scene.ends.finish(scene.tried, FinishRequest(ended=told))
        assert not scene.reports
        scene.gone.set()
        ended = (await scene.reported()).ended
        assert (ended.outcome, ended.message) == (outcome, message)

    in_scene(tmp_path, body)
