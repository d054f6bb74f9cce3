"""What must hold whatever happens: by name, checked from the log alone where that is possible."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from spinner_proto.common.v1.common_pb2 import RunType
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition, TaskDefinition
from spinner_proto.events.v1.events_pb2 import AssetEvent, TaskStateChanged, WorkflowEvents
from spinner_proto.executions.v1.executions_pb2 import JobExecutionRecord
from spinner_proto.inbox.v1.inbox_pb2 import AssetUpdated
from spinner_proto.orders.v1.orders_pb2 import TaskOrder

from spinner_scheduler.domain import schedules, snapshots, times
from spinner_scheduler.domain.layout import BACKFILL_POOL, DEFAULT_POOL
from spinner_scheduler.domain.limits import Limits
from spinner_scheduler.domain.run import LAYOUT_TASK, Run
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.domain.states import (
    DEFERRED,
    FINISHED,
    HOLDING,
    NONE,
    REMOVED,
    RUN_FAILED,
    RUN_RUNNING,
    RUN_SUCCESS,
    SCHEDULED,
)
from spinner_scheduler.simulation.backfills import BackfillChecker
from spinner_scheduler.simulation.timetables import whole
from spinner_scheduler.simulation.violations import ViolatedError, require

# -- memory --------------------------------------------------------------------------------------------------------


# Dumps of finished runs by their bytes, which say all.
Finished = dict[bytes, dict[str, Any]]


def dump(state: PartitionState, known: Finished | None = None) -> dict[str, Any]:
    """All of a state that decisions depend on, comparable. `known`: kept between calls, it saves most of the time."""
    known = {} if known is None else known
    return {
        "dags": {dag_id: _dump_dag(state, dag_id, known) for dag_id in sorted(state.dags)},
        "pools": {
            name: (pool.slots, pool.used, pool.granted, sorted((k, r.granted) for k, r in pool.requests.items()))
            for name, pool in sorted(state.pools.items())
            if pool.owned and (pool.used or pool.granted or pool.requests or pool.slots >= 0)
        },
        "assets": {
            key: (
                sorted(map(str, asset.subscribers.values())),
                (asset.last_sequence, asset.last_time, asset.first_used, asset.stale_time),
                sorted(map(str, asset.users.values())),
                {name: (str(watcher.told), list(watcher.seen)) for name, watcher in sorted(asset.watchers.items())},
            )
            for key, asset in sorted(state.assets.items())
            if asset.subscribers or asset.last_time or asset.users or asset.watchers
        },
        "request_ids": sorted(state.request_ids),
        "foreign_deferred": dict(sorted(state.foreign_deferred.items())),
        "live_runs": state.live_runs,
    }


def _dump_dag(state: PartitionState, dag_id: str, known: Finished) -> dict[str, Any]:
    dag = state.dags[dag_id]
    for kept in dag.finished.values():
        if kept not in known:
            known[kept] = _dump_run(snapshots.decode_run(kept, state.layouts))
    return {
        "updated": str(dag.updated),
        "removed": dag.removed,
        "runs": {run_id: _dump_run(run) for run_id, run in sorted(dag.runs.items())},
        "wanted": {run_id: sorted(run.wanted) for run_id, run in sorted(dag.runs.items())},
        "finished": {run_id: known[kept] for run_id, kept in sorted(dag.finished.items())},
        "by_date": dag.by_date,
        "successes": dag.successes,
        "evaluated": str(dag.evaluated),
        "held_commands": {request_id: str(command) for request_id, command in sorted(dag.held.items())},
        "measured": [str(measured) for measured in dag.measured],
        "updates": [str(update) for update in dag.updates],
        "partitioned": {
            key: [str(update) for update in kept.values()] for key, kept in sorted(dag.partitioned.items())
        },
        "ignored": str(dag.ignored),
        "active": dag.active,
        "queued": dag.queued,
        "backfills": {name: backfill.dump() for name, backfill in sorted(dag.backfills.items())},
        "backfill_runs": {name: list(found) for name, found in sorted(dag.backfill_runs.items()) if any(found)},
        "taken": dag.taken,
        "held": {task_id: held for task_id, held in sorted(dag.held_by_task.items()) if held},
    }


def _dump_run(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = {"version": run.layout.version}
    for name in Run.__slots__:
        if name in ("layout", "dirty", "wanted", "parked", "order_facts"):
            continue
        value = getattr(run, name)
        if name in ("skip_by", "task_holding", "skips"):
            value = {key: sorted(item) if name != "task_holding" else item for key, item in value.items() if item}
        elif name == "deferrals":
            value = {key: str(item) for key, item in value.items()}
        elif name == "facts":
            value = str(value)
        elif name == "counts":
            value = value[1:]
        found[name] = value
    return found


def differences(left: Any, right: Any, path: str = "") -> list[str]:
    """Where two dumps differ, for people."""
    if left is right or left == right:
        return []
    if isinstance(left, dict) and isinstance(right, dict):
        found: list[str] = []
        for key in sorted(set(left) | set(right), key=str):
            found += differences(left.get(key), right.get(key), f"{path}/{key}")
        return found
    return [f"{path}: {str(left)[:200]} ≠ {str(right)[:200]}"]


# -- the log -------------------------------------------------------------------------------------------------------

_Instance = tuple[str, str, str, int]


class Checker:
    """Reads events, orders and execution records of all partitions in the order in which they were committed.

    `definition`: gives a DAG's definition by version. `pools`: the most slots that each declared pool ever has.
    """

    def __init__(
        self, definition: Callable[[str, str], DagDefinition | None], limits: Limits, pools: dict[str, int]
    ) -> None:
        self._definition, self._limits, self._pools = definition, limits, pools
        self.transitions = 0
        self.backfills = BackfillChecker()
        self.scheduled: dict[str, Counter[int]] = defaultdict(Counter)
        self._sequences: Counter[str] = Counter()
        self.received: set[tuple[str, str, str, int]] = set()
        # Events counted of each watcher, and updates that runs were made of.
        self._watched: Counter[tuple[str, str]] = Counter()
        self._used: set[tuple[str, str, str, int]] = set()
        self._answers: Counter[str] = Counter()
        self._states: dict[_Instance, int] = {}
        self._ended: set[tuple[str, str, str, int, int]] = set()
        self._recorded: Counter[tuple[str, str, str, int, int]] = Counter()
        self._orders: set[str] = set()
        self._tombstoned: set[str] = set()
        # By run: version, and whether it runs; the most that any version of a DAG or run allows.
        self._versions: dict[tuple[str, str], str] = {}
        self._run_states: dict[tuple[str, str], int] = {}
        self._running: Counter[str] = Counter()
        self._holding: Counter[tuple[str, ...]] = Counter()
        self._most: dict[tuple[str, ...], int] = {}
        # By DAG and version.
        self._tasks: dict[tuple[str, str], dict[str, TaskDefinition]] = {}
        # What more was taken of in this transaction, with its limit.
        self._grown: dict[tuple[str, ...], int] = {}

    # -- events ----------------------------------------------------------------------------------------------------

    def events(self, record: WorkflowEvents) -> None:
        run = (record.dag_id, record.run_id)
        for event in record.events:
            kind = event.WhichOneof("kind")
            self.backfills.event(record, event)
            if kind == "task_state_changed":
                self._task_changed(record, event.task_state_changed)
            elif kind == "task_ended":
                ended = event.task_ended
                self.transitions += 1
                if ended.task_id == LAYOUT_TASK:
                    continue
                key = (*run, ended.task_id, ended.map_index, ended.try_number)
                require(key not in self._ended, "a_try_ends_once", str(key))
                self._ended.add(key)
                self._state((*run, ended.task_id, ended.map_index), ended.state, False)
            elif kind == "dag_updated":
                self._bound_runs(record.dag_id, event.dag_updated.version)
            elif kind == "run_created":
                created = event.run_created
                self._bound(run, created.version)
                for update in created.asset_events:
                    self._consumed(run, created.partition_key, update)
                if created.run_type == RunType.RUN_TYPE_SCHEDULED:
                    logical = times.from_timestamp(created.logical_date)
                    self.scheduled[record.dag_id][logical] += 1
                    require(
                        self.scheduled[record.dag_id][logical] == 1,
                        "one_run_per_interval",
                        f"{record.dag_id} has two for {times.text(logical)}",
                    )
            elif kind == "run_state_changed":
                self.transitions += 1
                self._run_changed(run, event.run_state_changed.state)
            elif kind == "asset_event":
                self._asset_updated(event.asset_event)
            elif kind == "asset_received":
                update = event.asset_received.update
                delivery = (record.dag_id, update.asset, update.via_alias, update.sequence)
                require(delivery not in self.received, "an_update_reaches_a_dag_once", str(delivery))
                self.received.add(delivery)
            elif kind == "run_version_changed":
                self._bound(run, event.run_version_changed.version)
            elif kind == "task_cleared":
                cleared = event.task_cleared
                self._move((*run, cleared.task_id, cleared.map_index), NONE)
            elif kind == "command_accepted":
                self._answered(event.command_accepted.request_id)
            elif kind == "command_rejected":
                self._answered(event.command_rejected.request_id)

    def _asset_updated(self, event: AssetEvent) -> None:
        if event.HasField("updated") and event.updated.watcher and not event.alias:
            watched = (event.name, event.updated.watcher)
            self._watched[watched] += 1
            expected = str(self._watched[watched])
            require(event.updated.event_id == expected, "watchers_count_each_event_once", f"{watched} {event.updated}")
        if event.HasField("updated") and not event.alias:
            self._sequences[event.name] += 1
            number = self._sequences[event.name]
            require(event.updated.sequence == number, "updates_are_numbered", f"{event.name} {event.updated.sequence}")

    def _consumed(self, run: tuple[str, str], partition_key: str, update: AssetUpdated) -> None:
        text = f"{run[0]}/{run[1]}: {update.asset} {update.sequence}"
        require(update.run_partition_key == partition_key, "an_update_counts_for_one_run", text)
        key = (run[0], update.asset, update.via_alias, update.sequence)
        require(key not in self._used, "an_update_counts_for_one_run", text)
        self._used.add(key)

    def _answered(self, request_id: str) -> None:
        self._answers[request_id] += 1
        require(self._answers[request_id] == 1, "each_command_is_answered_once", f"{request_id!r} has two answers")

    def _task_changed(self, record: WorkflowEvents, changed: TaskStateChanged) -> None:
        self.transitions += 1
        if changed.task_id != LAYOUT_TASK:
            key = (record.dag_id, record.run_id, changed.task_id, changed.map_index)
            self._state(key, changed.state, changed.marked)

    def _state(self, key: _Instance, new: int, marked: bool) -> None:
        before = self._states.get(key, NONE)
        if FINISHED[before] and before != new and new != REMOVED:
            require(marked, "finished_stays_finished", f"{key} went from {before} to {new}")
        self._move(key, new)

    def _move(self, key: _Instance, new: int) -> None:
        before = self._states.get(key, NONE)
        self._states[key] = new
        change = HOLDING[new] - HOLDING[before]
        in_pool = (HOLDING[new] or new == DEFERRED) - (HOLDING[before] or before == DEFERRED)
        if not change and not in_pool:
            return
        dag_id, run_id, task_id, _ = key
        definition = self._definition(dag_id, self._versions[(dag_id, run_id)])
        task = self._task(definition, task_id) if definition else None
        if definition is None or task is None:
            return
        pool = task.pool or DEFAULT_POOL
        if pool == DEFAULT_POOL:
            pool = self.backfills.pool_of(dag_id, run_id) or pool
        slots = (in_pool if pool == "tiny" else change) * (task.pool_slots or 1)
        placement = definition.placement
        own = {DEFAULT_POOL: self._limits.default_pool_slots, BACKFILL_POOL: self._limits.backfill_pool_slots}
        where = (pool, f"{placement.tier}_{placement.partition}") if pool in own else (pool,)
        most = own[pool] if pool in own else self._pools.get(pool, 0)
        self._hold(("pool", *where), slots, most)
        self._hold(("run", dag_id, run_id), change, self._most[("run", dag_id, run_id)])
        for name, limit in (
            (("task of a DAG", dag_id, task_id), task.max_active_tis_per_dag),
            (("task of a run", dag_id, run_id, task_id), task.max_active_tis_per_dagrun),
        ):
            # Versions may differ in it, and their runs live side by side: the loosest counts.
            self._most[name] = max(self._most.get(name, 0), limit or 1_000_000)
            self._hold(name, change, self._most[name])

    def _task(self, definition: DagDefinition, task_id: str) -> TaskDefinition | None:
        key = (definition.dag_id, definition.version)
        if key not in self._tasks:
            self._tasks[key] = {task.task_id: task for task in definition.tasks}
        return self._tasks[key].get(task_id)

    def _hold(self, name: tuple[str, ...], change: int, most: int) -> None:
        self._holding[name] += change
        if change > 0:
            self._grown[name] = most

    def _bound(self, run: tuple[str, str], version: str) -> None:
        dag_id, run_id = run
        self._versions[run] = version
        definition = self._definition(dag_id, version)
        if definition is not None:
            name: tuple[str, ...] = ("run", dag_id, run_id)
            most = definition.max_active_tasks or self._limits.max_active_tasks
            self._most[name] = max(self._most.get(name, 0), most)
            for task in definition.tasks:
                name = ("task of a DAG", dag_id, task.task_id)
                self._most[name] = max(self._most.get(name, 0), task.max_active_tis_per_dag or 1_000_000)

    def _bound_runs(self, dag_id: str, version: str) -> None:
        """A version's bound counts from when it is current; the loosest so far, since runs may go on."""
        definition = self._definition(dag_id, version) if version else None
        if definition is not None:
            most = definition.max_active_runs or self._limits.max_active_runs
            self._most["runs", dag_id] = max(self._most.get(("runs", dag_id), 0), most)

    def _run_changed(self, run: tuple[str, str], new: int) -> None:
        before = self._run_states.get(run, 0)
        self._run_states[run] = new
        dag_id = run[0]
        if self.backfills.runs[run][1]:
            return
        self._hold(
            ("runs", dag_id),
            (new == RUN_RUNNING) - (before == RUN_RUNNING),
            self._most.get(("runs", dag_id), 1_000_000),
        )

    def committed(self) -> None:
        """A transaction has been read. Limits are only meaningful now: its events are in order for each run only."""
        grown, self._grown = self._grown, {}
        for name, most in grown.items():
            held = self._holding[name]
            require(held <= most, "limits_hold", f"{' '.join(name)} has {held} of {most}")

    # -- orders and execution records --------------------------------------------------------------------------------

    def order(self, key: str, order: TaskOrder | None) -> None:
        if order is None:
            self._orders.discard(key)
            self._tombstoned.add(key)
            return
        require(key not in self._tombstoned, "no_try_ordered_twice", f"{key} was ordered again after its end")
        self._orders.add(key)

    def execution(self, record: JobExecutionRecord) -> None:
        key = (record.workflow_name, record.instance_id, record.job_name, record.map_index, record.try_number)
        self._recorded[key] += 1
        require(self._recorded[key] == 1, "one_execution_record", f"{key} has two")

    def finish(self, requests: set[str], blocked: set[str]) -> None:
        """Checks what holds once everything has ended.

        `requests`: the commands that were sent; `blocked`: DAGs with runs that wait for an earlier run's failed task.
        """
        self.backfills.finish(blocked)
        odd = self._ended ^ set(self._recorded)
        require(not odd, "one_execution_record", f"these have none, or no end: {sorted(odd)[:3]}")
        require(not self._orders, "no_order_is_left", f"{sorted(self._orders)[:3]}")
        silent = requests - set(self._answers)
        require(not silent, "each_command_is_answered_once", f"these have no answer: {sorted(silent)[:3]}")


# -- states --------------------------------------------------------------------------------------------------------


def check_sums(state: PartitionState) -> None:
    """What a state derives by sums is what is there."""
    for dag in state.dags.values():
        active = sum(run.state == RUN_RUNNING and not run.backfill_id for run in dag.runs.values())
        require(active == dag.active, "sums_agree", f"{dag.dag_id} counts {dag.active} active runs, there are {active}")
        for run in dag.runs.values():
            held = sum(HOLDING[task] for task in run.states)
            require(held == run.holding, "sums_agree", f"{run.dag_id}/{run.run_id} counts {run.holding} of {held}")
            scheduled = {slot for slot, task in enumerate(run.states) if task == SCHEDULED}
            if scheduled != run.wanted:
                text = (
                    f"{run.dag_id}/{run.run_id} has {sorted(scheduled)} scheduled, in queues are {sorted(run.wanted)}"
                )
                raise ViolatedError("sums_agree", text)
    for pool in state.pools.values():
        if pool.owned:
            granted = sum(request.message.slots for request in pool.requests.values() if request.granted)
            require(granted == pool.granted, "sums_agree", f"pool {pool.name} counts {pool.granted} of {granted}")


def check_complete(definition: DagDefinition, made: set[int], now: int) -> None:
    """With catch-up, each interval that is due has its run. `made`: logical dates of the DAG's runs."""
    if not definition.catchup:
        return
    timetable = schedules.timetable(definition, whole(definition))
    last: schedules.Tick | None = None
    while True:
        tick, _ = timetable.next(last, now)
        if tick is None or tick.run_after > now:
            return
        require(
            tick.logical in made,
            "no_interval_missed",
            f"{definition.dag_id} has no run for {times.text(tick.logical)}",
        )
        last = schedules.Tick(tick.logical, tick.start, tick.end or tick.logical, tick.run_after)


def check_ended(state: PartitionState) -> None:
    """Nothing is left, except runs that wait for an earlier run's failed task."""
    blocked = False
    for dag in state.dags.values():
        for run in dag.runs.values():
            if run.layout.has_past and not run.moving:
                blocked = True
                continue
            if dag.queued and any(other.layout.has_past for other in dag.runs.values()):
                blocked = True
                continue
            text = {run.position(slot): run.states[slot] for slot in run.live_slots() if not FINISHED[run.states[slot]]}
            require(False, "every_run_ends", f"{run.dag_id}/{run.run_id} is {run.state}, tasks {text}")
        for run_id, kept in dag.finished.items():
            require(snapshots.summary(kept).state in (RUN_SUCCESS, RUN_FAILED), "every_run_ends", run_id)
    if not blocked:
        for pool in state.pools.values():
            left = (pool.used, pool.granted, len(pool.requests)) if pool.owned else (0, 0, 0)
            require(left == (0, 0, 0), "slots_come_back", f"{pool.name}: used, granted, requests {left}")
