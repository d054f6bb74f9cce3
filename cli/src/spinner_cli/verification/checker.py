"""Holds the records of all topics against the promises, one by one."""

from __future__ import annotations

from collections import Counter, defaultdict

from spinner_eventlog.interface import Poison, Record
from spinner_proto.common.v1.common_pb2 import RunState, RunType, TaskState, TryKey
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition
from spinner_proto.events.v1.events_pb2 import (
    AssetEvent,
    PoolEvent,
    RunStateChanged,
    TaskEnded,
    TaskStateChanged,
    WorkflowEvent,
    WorkflowEvents,
)
from spinner_proto.executions.v1.executions_pb2 import JobExecutionRecord
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage
from spinner_proto.orders.v1.orders_pb2 import TaskGrant, TaskOrder

from spinner_cli.verification.findings import Findings, Violation
from spinner_cli.verification.run_history import FINISHED, LAYOUT_TASK, NONE, OPEN, RunHistory

_RUNNING = int(RunState.RUN_STATE_RUNNING)
_SUCCESS = int(RunState.RUN_STATE_SUCCESS)
_ENDED = (_SUCCESS, int(RunState.RUN_STATE_FAILED))
_STATUS = {
    int(TaskState.TASK_STATE_SUCCESS): "success",
    int(TaskState.TASK_STATE_FAILED): "failed",
    int(TaskState.TASK_STATE_UP_FOR_RETRY): "up_for_retry",
    int(TaskState.TASK_STATE_SKIPPED): "skipped",
}
_NO_LIMIT = 1 << 30

# Where a record is, for a violation that shows only later.
_Place = tuple[str, int, int]


class Checker:
    """Feed it records by topic, then `finish`. Results are in `findings`."""

    def __init__(self, findings: Findings | None = None) -> None:
        self.findings = findings or Findings()
        self._runs: dict[tuple[str, str], RunHistory] = {}
        self._intervals: dict[str, set[int]] = defaultdict(set)
        self._times: dict[tuple[str, int], int] = {}
        # Limits that any version of a DAG allows; 0 (the scheduler's default) counts as none.
        self._max_runs: dict[str, int] = {}
        self._max_tasks: dict[tuple[str, str], int] = {}
        self._running: Counter[str] = Counter()
        self._started_now: dict[str, Record] = {}
        # Ends and execution records that have not met their other half.
        self._ends: dict[str, tuple[str, _Place]] = {}
        self._recorded: dict[str, tuple[str, _Place]] = {}
        # Events of watchers that were counted.
        self._watched: set[tuple[str, str, str]] = set()
        # The latest order record of each try: its place, and whether it is a tombstone.
        self._orders: dict[str, tuple[_Place, bool]] = {}
        self._grants: dict[str, tuple[int, str, _Place]] = {}
        self._starts: dict[str, tuple[int, str]] = {}
        self._reported_ends: dict[str, tuple[int, _Place]] = {}
        self._commands: dict[str, tuple[str, _Place]] = {}
        self._answers: Counter[str] = Counter()
        # Commands that wait for the DAG's custom timetable.
        self._held: set[str] = set()
        self._pools: dict[str, int] = {}
        self._pool_requests: dict[tuple[str, str, int], int] = {}
        self._pool_granted: dict[str, dict[tuple[str, int], int]] = defaultdict(dict)

    # -- records -----------------------------------------------------------------------------------------------------

    def take(self, record: Record) -> None:
        """Looks at the next record of any topic."""
        base = record.topic.partition("-")[0]
        self.findings.records[base] += 1
        try:
            if base == "workflow_events":
                self._events(record, record.decode(WorkflowEvents))
            elif base == "workflow_job_executions":
                self._execution(record, record.decode(JobExecutionRecord))
            elif base == "task_orders":
                self._order(record)
            elif base == "task_grants":
                self._grant(record)
            elif base == "scheduler_inbox":
                self._message(record)
            elif base == "workflow_definitions" and record.value is not None:
                self._definition(record.decode(DagDefinition))
        except Poison as poison:
            if base not in ("scheduler_inbox", "workflow_definitions"):
                self._require(False, "events_are_readable", record, poison.reason)
            return
        self.findings.checked["events_are_readable"] += 1

    def _require(self, holds: bool, name: str, record: Record, text: str) -> None:
        self.findings.checked[name] += 1
        if not holds:
            place = (record.topic, record.partition, record.offset)
            self.findings.add(Violation(name, text, *place, record.key))

    def _missing(self, holds: bool, name: str, place: _Place, key: str, text: str) -> None:
        self.findings.checked[name] += 1
        if not holds:
            self.findings.add(Violation(name, text, *place, key))

    # -- events ------------------------------------------------------------------------------------------------------

    def _events(self, record: Record, events: WorkflowEvents) -> None:
        at = (record.topic, record.partition)
        time = events.time.ToMicroseconds()
        self._require(
            time >= self._times.get(at, 0),
            "time_never_goes_back",
            record,
            "its time is before that of the record above",
        )
        if time != self._times.get(at):
            self._moment_over(at)
        self._times[at] = max(time, self._times.get(at, 0))
        run = self._runs.get((events.dag_id, events.run_id))
        for event in events.events:
            kind = event.WhichOneof("kind") or ""
            if kind == "run_created":
                self._require(run is None, "a_run_is_created_once", record, "the run was created before")
                run = self._run_created(record, events, event)
            elif kind == "command_accepted":
                self._answered(record, event.command_accepted.request_id)
            elif kind == "command_rejected":
                self._answered(record, event.command_rejected.request_id)
            elif kind == "command_held":
                self._held.add(event.command_held.command.request_id)
            elif kind == "command_released":
                self._held.discard(event.command_released.request_id)
            elif kind == "asset_event":
                self._asset(record, event.asset_event)
            elif kind == "pool_event":
                self._pool(record, event.pool_event, own=not events.dag_id)
            elif kind.startswith(("task_", "run_")) and kind != "run_measured":
                if run is None:
                    self._require(False, "a_run_is_created_once", record, f"{kind} of a run that was never created")
                    return
                self._of_run(record, events, run, kind, event)
        if run is not None and run.state in _ENDED and not run.packed and not run.open_tries():
            run.pack()

    def _run_created(self, record: Record, events: WorkflowEvents, event: WorkflowEvent) -> RunHistory:
        created = event.run_created
        run = self._runs[(events.dag_id, events.run_id)] = RunHistory(
            created.version, backfill_id=created.backfill.backfill_id
        )
        self.findings.runs += 1
        if created.run_type == RunType.RUN_TYPE_SCHEDULED:
            logical = created.logical_date.ToMicroseconds()
            known = self._intervals[events.dag_id]
            self._require(logical not in known, "one_run_per_interval", record, "another run has its logical date")
            known.add(logical)
        return run

    def _of_run(self, record: Record, events: WorkflowEvents, run: RunHistory, kind: str, event: WorkflowEvent) -> None:
        if kind == "task_state_changed":
            self._task_changed(record, events, run, event.task_state_changed)
        elif kind == "task_ended":
            self._task_ended(record, run, event.task_ended)
        elif kind == "task_cleared":
            instance = run.instance(event.task_cleared.task_id, event.task_cleared.map_index)
            instance.state = NONE
        elif kind == "run_state_changed":
            self._run_changed(record, events, run, event.run_state_changed)
        elif kind == "run_version_changed":
            run.version = event.run_version_changed.version
        elif kind == "run_backfill_changed":
            if run.state == _RUNNING and not run.backfill_id:
                self._running[events.dag_id] -= 1
            run.backfill_id = event.run_backfill_changed.backfill.backfill_id
            if run.state == _RUNNING and not run.backfill_id:
                self._running[events.dag_id] += 1

    def _run_changed(self, record: Record, events: WorkflowEvents, run: RunHistory, changed: RunStateChanged) -> None:
        run.unpack()
        before, run.state = run.state, int(changed.state)
        if run.state in _ENDED and (LAYOUT_TASK, -1) in run.instances:
            # A run that is ended by hand takes back the order of its layout, without an end of that try.
            run.instances[(LAYOUT_TASK, -1)].open = False
        if run.state == _SUCCESS and not changed.marked:
            left = run.open_tries()
            self._require(not left, "a_successful_run_has_no_open_try", record, f"{left} of its tries are open")
        if not run.backfill_id:
            self._running[events.dag_id] += (run.state == _RUNNING) - (before == _RUNNING)
            if run.state == _RUNNING:
                # Of one decision, only the order of one run's events means something: looked at when it is over.
                self._started_now[events.dag_id] = record

    def _moment_over(self, at: tuple[str, int]) -> None:
        for dag_id, record in list(self._started_now.items()):
            if (record.topic, record.partition) == at:
                del self._started_now[dag_id]
                most = self._max_runs.get(dag_id, _NO_LIMIT)
                runs = self._running[dag_id]
                self._require(runs <= most, "max_active_runs_holds", record, f"{runs} runs of {dag_id}, not {most}")

    def _task_changed(self, record: Record, events: WorkflowEvents, run: RunHistory, changed: TaskStateChanged) -> None:
        name = f"{changed.task_id}[{changed.map_index}]"
        instance = run.instance(changed.task_id, changed.map_index)
        new = int(changed.state)
        if new in OPEN:
            number = changed.try_number
            if not instance.open:
                right = number == instance.try_number + 1
                self._require(right, "one_open_try", record, f"{name}: try {number} after {instance.try_number}")
                self.findings.tries += 1
            else:
                self._require(
                    number == instance.try_number,
                    "one_open_try",
                    record,
                    f"{name}: try {number} while {instance.try_number} is open",
                )
            instance.open, instance.try_number, instance.segment = True, number, changed.segment
        elif instance.open and changed.segment:
            instance.segment = changed.segment
        self._move(record, run, changed.task_id, changed.map_index, new, changed.marked)
        if new in OPEN and changed.task_id != LAYOUT_TASK:
            most = self._max_tasks.get((events.dag_id, run.version), _NO_LIMIT)
            held = run.holding() if most < _NO_LIMIT else 0
            self._require(held <= most, "max_active_tasks_holds", record, f"{held} tries at work, not {most}")

    def _task_ended(self, record: Record, run: RunHistory, ended: TaskEnded) -> None:
        name = f"{ended.task_id}[{ended.map_index}] try {ended.try_number}"
        instance = run.instance(ended.task_id, ended.map_index)
        if ended.try_number == instance.try_number + 1 and not instance.open:
            # Tasks that need no worker begin and end at once.
            instance.open, instance.try_number = True, ended.try_number
            self.findings.tries += 1
        right = instance.open and ended.try_number == instance.try_number
        self._require(right, "a_try_ends_once", record, f"{name} is not open")
        self._move(record, run, ended.task_id, ended.map_index, int(ended.state), False)
        instance.open = False
        if ended.task_id == LAYOUT_TASK:
            return
        key = f"{record.key}/{ended.task_id}/{ended.map_index}/{ended.try_number}"
        status = _STATUS.get(int(ended.state), "failed")
        found = self._recorded.pop(key, None)
        if found is None:
            self._ends[key] = (status, (record.topic, record.partition, record.offset))
        else:
            self._agree(key, status, *found)

    def _move(self, record: Record, run: RunHistory, task_id: str, map_index: int, new: int, marked: bool) -> None:
        instance = run.instance(task_id, map_index)
        before, instance.state = instance.state, new
        if task_id == LAYOUT_TASK:
            return
        stays = before not in FINISHED or new == before or marked or new == int(TaskState.TASK_STATE_REMOVED)
        self._require(
            stays,
            "finished_stays_finished",
            record,
            f"{task_id}[{map_index}] went from {TaskState.Name(before)} to {TaskState.Name(new)}",  # type: ignore[arg-type]
        )

    def _answered(self, record: Record, request_id: str) -> None:
        if request_id:
            self._answers[request_id] += 1
            once = self._answers[request_id] == 1
            self._require(once, "each_command_is_answered_once", record, f"request {request_id} is answered again")

    def _pool(self, record: Record, event: PoolEvent, own: bool) -> None:
        """`own`: said by the pool's owner (users note the same protocol among the events of their runs)."""
        if not own:
            return
        kind, pool = event.WhichOneof("kind"), event.pool
        granted = self._pool_granted[pool]
        if kind == "changed":
            # A pool that is made smaller lets what it granted end.
            self._pools[pool] = max(event.changed.slots, sum(granted.values()))
        elif kind == "requested":
            key = (event.requested.try_key.dag_id, event.requested.request)
            self._pool_requests[(pool, *key)] = event.requested.slots
        elif kind == "granted":
            key = (event.granted.try_key.dag_id, event.granted.request)
            granted[key] = self._pool_requests.get((pool, *key), 0)
            used, most = sum(granted.values()), self._pools.get(pool, 0)
            self._require(used <= most, "pool_grants_fit", record, f"pool {pool} granted {used} of {most} slots")
        elif kind == "released":
            key = (event.released.try_key.dag_id, event.released.request)
            granted.pop(key, None)
            self._pool_requests.pop((pool, *key), None)

    # -- the other topics --------------------------------------------------------------------------------------------

    def _definition(self, definition: DagDefinition) -> None:
        dag_id = definition.dag_id
        self._max_tasks[(dag_id, definition.version)] = definition.max_active_tasks or _NO_LIMIT
        self._max_runs[dag_id] = max(self._max_runs.get(dag_id, 0), definition.max_active_runs or _NO_LIMIT)

    def _execution(self, record: Record, execution: JobExecutionRecord) -> None:
        key = (
            f"{execution.workflow_name}/{execution.instance_id}/{execution.job_name}/"
            f"{execution.map_index}/{execution.try_number}"
        )
        place = (record.topic, record.partition, record.offset)
        end = self._ends.pop(key, None)
        if end is not None:
            self._agree(key, end[0], execution.status, place)
            return
        self._require(key not in self._recorded, "one_execution_record", record, f"{key} has two")
        self._recorded[key] = (execution.status, place)

    def _agree(self, key: str, status: str, recorded: str, place: _Place) -> None:
        self._missing(
            status == recorded, "one_execution_record", place, key, f"it says {recorded}, the events say {status}"
        )

    def _asset(self, record: Record, event: AssetEvent) -> None:
        update = event.updated
        if event.alias or not update.event_id:
            return
        seen = (event.name, update.watcher, update.event_id)
        self._require(seen not in self._watched, "a_watched_event_counts_once", record, f"{seen} was counted before")
        self._watched.add(seen)

    def _order(self, record: Record) -> None:
        before = self._orders.get(record.key)
        place = (record.topic, record.partition, record.offset)
        if record.value is None:
            self._orders[record.key] = (place, True)
            return
        record.decode(TaskOrder)
        again = before is not None and before[1]
        self._require(not again, "no_try_is_ordered_twice", record, "its order was tombstoned before")
        self._orders[record.key] = (place, False)

    def _grant(self, record: Record) -> None:
        if record.value is None:
            return
        grant = record.decode(TaskGrant)
        segment, worker, _ = self._grants.get(record.key, (-1, "", ("", 0, 0)))
        same = grant.segment != segment or grant.worker == worker
        self._require(same, "one_grant_per_segment", record, f"segment {segment}: {worker}, then {grant.worker}")
        self._grants[record.key] = (grant.segment, grant.worker, (record.topic, record.partition, record.offset))

    def _message(self, record: Record) -> None:
        if record.value is None:
            return
        message = record.decode(InboxMessage)
        place = (record.topic, record.partition, record.offset)
        if message.HasField("command"):
            if message.command.request_id:
                self._commands.setdefault(message.command.request_id, (record.key, place))
        elif message.HasField("task_report"):
            report = message.task_report
            key = _text(report.try_key)
            if report.HasField("started"):
                segment, worker = self._starts.get(key, (-1, ""))
                same = report.segment != segment or report.worker == worker
                self._require(
                    same, "one_worker_per_segment", record, f"segment {segment}: {worker}, then {report.worker}"
                )
                self._starts[key] = (report.segment, report.worker)
            elif report.HasField("ended"):
                self._starts.pop(key, None)
                if report.try_key.task_id != "__callback__":
                    self._reported_ends[key] = (report.segment, place)

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self, before: dict[tuple[str, int], int], handled: dict[tuple[str, int], int], ended: bool) -> None:
        """Looks at what should have met by now.

        `before`: ends of the topics when reading began; what was written after them may be half of something.
        `handled`: the schedulers' committed offsets of their inboxes. `ended`: all runs should have ended.
        """
        for at in self._times:
            self._moment_over(at)
        for key, (_, place) in self._ends.items():
            self._missing(False, "one_execution_record", place, key, "the try ended, and has no execution record")
        for key, (_, place) in self._recorded.items():
            old = place[2] < before.get(place[:2], 0)
            self._missing(not old, "one_execution_record", place, key, "there is no such try, or it has not ended")
        self._finish_orders(before)
        for key, (_, _, place) in self._grants.items():
            run, instance = self._try(key)
            ordered = run is not None and instance >= int(key.rpartition("/")[2])
            new = place[2] >= before.get(place[:2], 0)
            self._missing(ordered or new or "/__" in key, "grants_follow_orders", place, key, "it was never ordered")
        for request_id, (key, place) in self._commands.items():
            answered = self._answers[request_id] > 0
            waits = request_id in self._held or place[2] >= min(handled.get(place[:2], 0), before.get(place[:2], 0))
            self.findings.waiting_commands += waits and not answered
            self._missing(
                answered or waits, "each_command_is_answered_once", place, key, f"request {request_id} has no answer"
            )
        for (dag_id, run_id), run in self._runs.items():
            if run.state not in _ENDED or run.open_tries():
                self.findings.live_runs += 1
                if ended:
                    self._missing(False, "every_run_ends", ("", 0, -1), f"{dag_id}/{run_id}", "it has not ended")
            elif ended:
                self.findings.checked["every_run_ends"] += 1
        self._finish_ends(before, handled)

    def _finish_orders(self, before: dict[tuple[str, int], int]) -> None:
        for (dag_id, run_id), run in self._runs.items():
            for (task_id, map_index), instance in run.instances.items():
                if not instance.open:
                    continue
                key = f"{dag_id}/{run_id}/{task_id}/{map_index}/{instance.try_number}"
                place, tombstoned = self._orders.get(key, (("task_orders", 0, -1), True))
                # A try between two segments keeps the order of the segment before.
                new = place[2] >= before.get(place[:2], 0)
                self._missing(
                    not tombstoned or (new and place[2] >= 0), "open_tries_have_orders", place, key, "it has no order"
                )
        watchers: dict[str, str] = {}
        for key, (place, tombstoned) in self._orders.items():
            if "/__watcher__." in key and not tombstoned and place[2] < before.get(place[:2], 0):
                other = watchers.setdefault(key.rpartition("/")[0], key)
                self._missing(other == key, "one_watcher_of_a_name", place, key, f"{other} is ordered, too")
            self.findings.checked["open_tries_have_orders"] += tombstoned
            if tombstoned or "/__callback__/" in key or "/__watcher__." in key or place[2] >= before.get(place[:2], 0):
                continue
            of, number = self._try(key)
            alive = of is not None and of.instance(*_instance(key)).open and number == int(key.rpartition("/")[2])
            self._missing(alive, "open_tries_have_orders", place, key, "the order of a try that is not open is left")

    def _finish_ends(self, before: dict[tuple[str, int], int], handled: dict[tuple[str, int], int]) -> None:
        for key, (segment, place) in self._reported_ends.items():
            if place[2] >= min(handled.get(place[:2], 0), before.get(place[:2], 0)):
                continue
            run, number = self._try(key)
            lost = False
            if run is not None and number == int(key.rpartition("/")[2]):
                instance = run.instance(*_instance(key))
                lost = instance.open and instance.segment == segment and instance.state in OPEN
            self._missing(not lost, "no_end_is_lost", place, key, "its end was read, and it is open still")

    def _try(self, key: str) -> tuple[RunHistory | None, int]:
        """The run of a try, and the number of the latest try of its task instance."""
        dag_id, run_id = key.split("/")[:2]
        run = self._runs.get((dag_id, run_id))
        return run, run.instance(*_instance(key)).try_number if run is not None else 0


def _instance(key: str) -> tuple[str, int]:
    _, _, task_id, map_index, _ = key.split("/")
    return task_id, int(map_index)


def _text(key: TryKey) -> str:
    return f"{key.dag_id}/{key.run_id}/{key.task_id}/{key.map_index}/{key.try_number}"
