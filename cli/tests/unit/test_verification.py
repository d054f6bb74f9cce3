"""The independent checker: a sound log passes, and each promise is seen to be broken when it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.protobuf.message import Message
from spinner_cli.verification.findings import INVARIANTS, Findings
from spinner_cli.verification.reading import verify
from spinner_eventlog import topics
from spinner_eventlog.interface import Outgoing
from spinner_eventlog.memory import MemoryLog
from spinner_proto.common.v1.common_pb2 import RunState, RunType, TaskState, TryKey
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.events.v1.events_pb2 import WorkflowEvents
from spinner_proto.executions.v1.executions_pb2 import JobExecutionRecord
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage
from spinner_proto.orders.v1.orders_pb2 import OrderKind, TaskGrant, TaskOrder

EVENTS, INBOX, ORDERS, GRANTS = "workflow_events-c_tier_1", "scheduler_inbox-c_tier_1", "task_orders-c", "task_grants-c"
NONE, SCHEDULED, QUEUED, RUNNING, RETRY, SUCCESS, FAILED = (
    TaskState.Value(f"TASK_STATE_{name}")
    for name in ("NONE", "SCHEDULED", "QUEUED", "RUNNING", "UP_FOR_RETRY", "SUCCESS", "FAILED")
)
RUN, DONE = RunState.RUN_STATE_RUNNING, RunState.RUN_STATE_SUCCESS


class Book:
    """Writes a log by hand. Times are seconds."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.log = MemoryLog(clock=None, wait=False)
        topics.create_topics(self.log, ["c"], [1])
        self._producer = self.log.producer("book")
        self.handled = 0

    def write(self, topic: str, key: str, value: Message | None, partition: int = 0, raw: bytes | None = None) -> None:
        self._producer.send(Outgoing(topic, key, value, partition, raw=raw))

    def events(self, *events: dict[str, object], run: str = "r", dag: str = "d", at: float = 0) -> None:
        self.time += 1
        record = WorkflowEvents(dag_id=dag, run_id=run, events=events)  # type: ignore[arg-type]
        record.time.FromMilliseconds(int((at or self.time) * 1000))
        self.write(EVENTS, f"{dag}/{run}" if run else dag or "p", record)

    def created(self, run: str = "r", logical: int = 10, **more: object) -> None:
        created = {
            "run_type": RunType.RUN_TYPE_SCHEDULED,
            "logical_date": {"seconds": logical},
            "version": "v1",
            **more,
        }
        self.events({"run_created": created}, {"run_state_changed": {"state": RUN}}, run=run)

    def state(self, new: int, task: str = "t", number: int = 1, run: str = "r", **more: object) -> None:
        changed = {"task_id": task, "map_index": -1, "state": new, "try_number": number, **more}
        self.events({"task_state_changed": changed}, run=run)

    def ended(self, new: int = SUCCESS, task: str = "t", number: int = 1, run: str = "r") -> None:
        self.events({"task_ended": {"task_id": task, "map_index": -1, "try_number": number, "state": new}}, run=run)

    def execution(self, status: str = "success", task: str = "t", number: int = 1, run: str = "r") -> None:
        record = JobExecutionRecord(
            workflow_name="d", instance_id=run, job_name=task, map_index=-1, try_number=number, status=status
        )
        self.write("workflow_job_executions", "d", record)

    def key(self, task: str = "t", number: int = 1, run: str = "r") -> TryKey:
        return TryKey(dag_id="d", run_id=run, task_id=task, map_index=-1, try_number=number)

    def order(self, task: str = "t", number: int = 1, run: str = "r") -> None:
        self.write(ORDERS, f"d/{run}/{task}/-1/{number}", TaskOrder(try_key=self.key(task, number, run)))

    def tombstone(self, task: str = "t", number: int = 1, run: str = "r") -> None:
        self.write(ORDERS, f"d/{run}/{task}/-1/{number}", None)

    def grant(self, worker: str = "w", task: str = "t", number: int = 1, segment: int = 0) -> None:
        grant = TaskGrant(try_key=self.key(task, number), segment=segment, worker=worker)
        self.write(GRANTS, f"d/r/{task}/-1/{number}", grant)

    def report(self, **kind: object) -> None:
        message = InboxMessage(task_report={"try_key": self.key(), "sequence": 2, **kind})  # type: ignore[arg-type]
        self.write(INBOX, "d", message)
        self.handled += 1

    def command(self, request_id: str) -> None:
        self.write(INBOX, "d", InboxMessage(command={"request_id": request_id, "dag_id": "d"}))
        self.handled += 1

    def begin(self, task: str = "t", number: int = 1, run: str = "r") -> None:
        """A try is ordered, granted and started."""
        self.state(QUEUED, task, number, run)
        self.order(task, number, run)
        self.state(RUNNING, task, number, run)

    def end(
        self, new: int = SUCCESS, status: str = "success", task: str = "t", number: int = 1, run: str = "r"
    ) -> None:
        self.ended(new, task, number, run)
        self.execution(status, task, number, run)
        self.tombstone(task, number, run)

    def verify(self, ended: bool = False) -> Findings:
        return verify(self.log, lambda group, topic, partition: self.handled if partition == 0 else 0, "c", [1], ended)


def sound() -> Book:
    """A run with a retry, a command, a pool, a definition: everything as it should be."""
    book = Book()
    book.write(
        "workflow_definitions",
        "d@v1",
        DagDefinition(dag_id="d", version="v1", max_active_runs=2, max_active_tasks=2),
    )
    book.command("a")
    book.events({"command_accepted": {"request_id": "a"}}, run="")
    book.events(
        {"pool_event": {"pool": "p", "changed": {"slots": 2}}},
        {"pool_event": {"pool": "p", "requested": {"try_key": {"dag_id": "x"}, "slots": 2, "request": 1}}},
        {"pool_event": {"pool": "p", "granted": {"try_key": {"dag_id": "x"}, "request": 1}}},
        run="p",
        dag="",
    )
    book.created()
    book.begin()
    book.grant()
    book.report(started={}, worker="w")
    book.report(ended={}, worker="w")
    book.end(RETRY, "up_for_retry")
    book.begin(number=2)
    book.end(number=2)
    book.events({"run_state_changed": {"state": DONE}})
    watcher(book, 1)
    watched(book, 0)
    return book


def unreadable(book: Book) -> None:
    book.write(EVENTS, "d/r", None, raw=b"\xff\xff")


def back_in_time(book: Book) -> None:
    book.events({"dag_updated": {}}, run="", at=5)


def made_twice(book: Book) -> None:
    book.created()


def from_nowhere(book: Book) -> None:
    book.events({"task_state_changed": {"task_id": "t", "state": SCHEDULED}}, run="unknown")


def same_interval(book: Book) -> None:
    book.created("other")


def number_skipped(book: Book) -> None:
    book.created("s", 11)
    book.begin(run="s", number=2)


def ends_again(book: Book) -> None:
    book.created("s", 11)
    book.begin(run="s")
    book.end(run="s")
    book.ended(run="s")


def wakes_up(book: Book) -> None:
    book.state(SCHEDULED, number=3)


def succeeds_early(book: Book) -> None:
    book.created("s", 11)
    book.begin(run="s")
    book.events({"run_state_changed": {"state": DONE}}, run="s")
    book.end(run="s")


def too_many_tasks(book: Book) -> None:
    book.created("s", 11)
    for task in ("a", "b", "c"):
        book.begin(task, run="s")


def too_many_runs(book: Book) -> None:
    for number in range(3):
        book.created(f"s{number}", 20 + number)


def too_many_slots(book: Book) -> None:
    request = {"try_key": {"dag_id": "x"}, "slots": 1, "request": 2}
    grant = {"try_key": {"dag_id": "x"}, "request": 2}
    events = [{"pool_event": {"pool": "p", "requested": request}}, {"pool_event": {"pool": "p", "granted": grant}}]
    book.events(*events, run="p", dag="")


def two_answers(book: Book) -> None:
    book.events({"command_rejected": {"request_id": "a"}}, run="")


def no_answer(book: Book) -> None:
    book.command("b")


def no_record(book: Book) -> None:
    book.created("s", 11)
    book.begin(run="s")
    book.ended(run="s")
    book.tombstone(run="s")


def record_of_nothing(book: Book) -> None:
    book.execution(task="ghost")


def record_disagrees(book: Book) -> None:
    book.created("s", 11)
    book.begin(run="s")
    book.end(FAILED, "success", run="s")


def ordered_again(book: Book) -> None:
    book.order()
    book.tombstone()


def order_left(book: Book) -> None:
    book.order("ghost")


def order_missing(book: Book) -> None:
    book.created("s", 11)
    book.state(QUEUED, run="s")


def granted_to_two(book: Book) -> None:
    book.grant("other")


def granted_unordered(book: Book) -> None:
    book.grant(number=7)


def started_by_two(book: Book) -> None:
    book.report(started={}, worker="a")
    book.report(started={}, worker="b")


def end_unheard(book: Book) -> None:
    book.created("s", 11)
    book.begin(run="s")
    book.report(ended={}, try_key=book.key(run="s"))


def still_running(book: Book) -> None:
    book.created("s", 11)


def watched(book: Book, sequence: int) -> None:
    update = {"asset": "a", "watcher": "w", "event_id": "t/0/1", "sequence": sequence}
    book.events({"asset_event": {"name": "a", "updated": update}}, dag="", run="")


def watched_twice(book: Book) -> None:
    watched(book, 1)


def watcher(book: Book, generation: int) -> None:
    key = TryKey(dag_id="__asset__", run_id="0", task_id="__watcher__.w", map_index=-1, try_number=generation)
    order = TaskOrder(try_key=key, kind=OrderKind.ORDER_KIND_WATCHER, asset="a")
    book.write(ORDERS, f"__asset__/0/__watcher__.w/-1/{generation}", order)


def two_watchers(book: Book) -> None:
    watcher(book, 2)


BREAKS: list[tuple[Callable[[Book], None], str]] = [
    (unreadable, "events_are_readable"),
    (back_in_time, "time_never_goes_back"),
    (made_twice, "a_run_is_created_once"),
    (from_nowhere, "a_run_is_created_once"),
    (same_interval, "one_run_per_interval"),
    (number_skipped, "one_open_try"),
    (ends_again, "a_try_ends_once"),
    (wakes_up, "finished_stays_finished"),
    (succeeds_early, "a_successful_run_has_no_open_try"),
    (too_many_tasks, "max_active_tasks_holds"),
    (too_many_runs, "max_active_runs_holds"),
    (too_many_slots, "pool_grants_fit"),
    (watched_twice, "a_watched_event_counts_once"),
    (two_watchers, "one_watcher_of_a_name"),
    (two_answers, "each_command_is_answered_once"),
    (no_answer, "each_command_is_answered_once"),
    (no_record, "one_execution_record"),
    (record_of_nothing, "one_execution_record"),
    (record_disagrees, "one_execution_record"),
    (ordered_again, "no_try_is_ordered_twice"),
    (order_left, "open_tries_have_orders"),
    (order_missing, "open_tries_have_orders"),
    (granted_to_two, "one_grant_per_segment"),
    (granted_unordered, "grants_follow_orders"),
    (started_by_two, "one_worker_per_segment"),
    (end_unheard, "no_end_is_lost"),
    (still_running, "every_run_ends"),
]


def test_a_sound_log_passes() -> None:
    found = sound().verify(ended=True)
    assert found.violations == []
    assert (found.runs, found.live_runs, found.tries, found.waiting_commands) == (1, 0, 2, 0)
    assert [name for name, count in found.checked.items() if not count] == []


@pytest.mark.parametrize(("break_it", "name"), BREAKS, ids=[item.__name__ for item, _ in BREAKS])
def test_a_broken_promise_is_found(break_it: Callable[[Book], None], name: str) -> None:
    book = sound()
    break_it(book)
    found = book.verify(ended=True)
    assert found.broken[name] > 0, found.broken
    violation = next(violation for violation in found.violations if violation.invariant == name)
    assert violation.text and violation.key
    assert violation.offset >= 0 or break_it in (still_running, order_missing)


def test_each_promise_can_be_broken() -> None:
    assert {name for _, name in BREAKS} == set(INVARIANTS)


def test_commands_that_were_not_read_yet_only_wait() -> None:
    book = sound()
    book.command("b")
    book.handled -= 1
    found = book.verify()
    assert found.violations == [] and found.waiting_commands == 1


def test_an_ended_run_that_is_cleared_is_remembered() -> None:
    book = sound()
    book.events({"task_cleared": {"task_id": "t", "map_index": -1}}, {"run_state_changed": {"state": RUN}})
    book.begin(number=3)
    book.end(number=3)
    book.events({"run_state_changed": {"state": DONE}})
    assert book.verify(ended=True).violations == []
    book.events({"task_cleared": {"task_id": "t", "map_index": -1}}, {"run_state_changed": {"state": RUN}})
    book.begin(number=2)
    assert book.verify().broken["one_open_try"] == 1


def test_a_command_that_is_held_waits_until_it_is_released() -> None:
    book = sound()
    book.command("held")
    book.events({"command_held": {"command": {"request_id": "held", "dag_id": "d"}}}, run="")
    found = book.verify()
    assert found.violations == [] and found.waiting_commands == 1
    book.events({"command_released": {"request_id": "held"}}, run="")
    assert [violation.invariant for violation in book.verify().violations] == ["each_command_is_answered_once"]
    book.events({"command_accepted": {"request_id": "held"}}, run="")
    found = book.verify()
    assert found.violations == [] and found.waiting_commands == 0
