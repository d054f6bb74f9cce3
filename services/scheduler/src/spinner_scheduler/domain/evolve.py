"""`evolve(state, event)`: the only code that changes a partition's state, live and in replay alike.

An event of a run that has ended brings the run back among the live ones first; a run that has ended and has nothing
unfinished is put away. An event of an unknown kind is fatal: this scheduler is older than its log.
"""

from __future__ import annotations

from bisect import bisect_right, insort

from spinner_proto.common.v1.common_pb2 import Blob, RunType
from spinner_proto.events.v1 import events_pb2 as ev
from spinner_proto.inbox.v1.inbox_pb2 import (
    AssetSubscribed,
    AssetUpdated,
    AssetUsed,
    Command,
    PoolChanged,
    TimetableEvaluated,
)

from spinner_scheduler.domain import snapshots, times
from spinner_scheduler.domain.backfill import Backfill
from spinner_scheduler.domain.layout import Layout
from spinner_scheduler.domain.pools import Pool
from spinner_scheduler.domain.run import LAYOUT_TASK, Run
from spinner_scheduler.domain.state import (
    MEASURED_RUNS,
    AssetState,
    DagState,
    PartitionState,
    Watcher,
    event_hash,
)
from spinner_scheduler.domain.states import (
    DEFERRED,
    FINISHED,
    NONE,
    QUEUED,
    RESTARTING,
    RUN_FAILED,
    RUN_QUEUED,
    RUN_RUNNING,
    RUN_SUCCESS,
    RUNNING,
    SCHEDULED,
    SUCCESS,
    UP_FOR_RESCHEDULE,
    UP_FOR_RETRY,
    free_retry_delay,
)

# How many finished runs stay decoded: those that a later run's depends_on_past or a clear may ask for at once.
_DECODED = 64


class MissingDefinitionError(Exception):
    """An event names a version whose definition can't be found: the log of definitions is incomplete."""


def evolve_record(state: PartitionState, record: ev.WorkflowEvents) -> None:
    """Applies all events of one record in order."""
    state.at(times.from_timestamp(record.time))
    for event in record.events:
        evolve(state, record.dag_id, record.run_id, event)


def evolve(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    """Applies one event. Raises MissingDefinitionError, or ValueError for an unknown kind."""
    kind = event.WhichOneof("kind")
    if kind == "task_state_changed":
        dag, run = _run(state, dag_id, run_id)
        _task_state_changed(state, dag, run, event.task_state_changed)
    elif kind == "task_ended":
        dag, run = _run(state, dag_id, run_id)
        _task_ended(state, dag, run, event.task_ended)
    elif kind == "pool_event":
        _pool_event(state, dag_id, run_id, event.pool_event)
        return
    else:
        handler = _RARE.get(kind or "")
        if handler is None:
            raise ValueError(f"event of an unknown kind in {dag_id}/{run_id}: upgrade the scheduler to replay it")
        handler(state, dag_id, run_id, event)
        return
    if not run.unfinished and run.state in (RUN_SUCCESS, RUN_FAILED):
        _put_away(state, dag, run)


def _run(state: PartitionState, dag_id: str, run_id: str) -> tuple[DagState, Run]:
    dag = state.dag(dag_id)
    run = dag.runs.get(run_id)
    if run is None:
        run = revive(state, dag, run_id)
        if run is None:
            raise ValueError(f"event of unknown run {dag_id}/{run_id}")
        dag.finished.pop(run_id)
        state.decoded.pop((dag_id, run_id), None)
        state.note_success(dag, run, finished=False)
        state.add_run(dag, run)
    return dag, run


def revive(state: PartitionState, dag: DagState, run_id: str) -> Run | None:
    """Returns a finished run, decoded, without bringing it back."""
    kept = dag.finished.get(run_id)
    if kept is None:
        return None
    key = (dag.dag_id, run_id)
    run = state.decoded.get(key)
    if run is None:
        run = snapshots.decode_run(kept, state.layouts)
        _keep_decoded(state, key, run)
    return run


def _keep_decoded(state: PartitionState, key: tuple[str, str], run: Run) -> None:
    state.decoded[key] = run
    if len(state.decoded) > _DECODED:
        state.decoded.popitem(last=False)


def _put_away(state: PartitionState, dag: DagState, run: Run) -> None:
    state.drop_run(dag, run)
    run.dirty.clear()
    run.parked.clear()
    dag.finished[run.run_id] = snapshots.encode_run(run)
    _keep_decoded(state, (dag.dag_id, run.run_id), run)
    state.note_success(dag, run, finished=True)
    while len(dag.finished) > state.limits.keep_finished_runs:
        dropped, _ = dag.finished.popitem(last=False)
        state.dropped.append((dag.dag_id, dropped))
        logical = next((entry[0] for entry in dag.by_date if entry[1] == dropped), 0)
        dag.by_date = [entry for entry in dag.by_date if entry[1] != dropped]
        dag.successes = [entry for entry in dag.successes if entry[0] != logical]


# -- tasks -----------------------------------------------------------------------------------------------------


def _task_state_changed(state: PartitionState, dag: DagState, run: Run, e: ev.TaskStateChanged) -> None:
    if e.task_id == LAYOUT_TASK:
        run.layout_try = e.try_number
        return
    slot = run.slot(e.task_id, e.map_index)
    new = e.state
    if new == QUEUED:
        run.tries[slot] = e.try_number
        run.segments[slot] = e.segment
        if run.states[slot] != QUEUED:
            run.resumes.pop(slot, None)
            run.deferrals.pop(slot, None)
            if e.segment == 0:
                run.first_start.pop(slot, None)
            run.sequences.pop(slot, None)
        if e.reason and not e.cancelled_as:
            run.pending[slot] = e.reason
        else:
            run.pending.pop(slot, None)
    elif new == RUNNING:
        run.pending.pop(slot, None)
        if slot not in run.first_start:
            run.first_start[slot] = times.from_timestamp(e.start_time) or state.now
    elif new == DEFERRED:
        run.segments[slot] = e.segment
        if not e.cancelled_as:
            run.deferrals[slot] = e.deferral
            run.sequences.pop(slot, None)
    elif new == SCHEDULED:
        if e.segment:
            run.segments[slot] = e.segment
            run.resumes[slot] = (e.resume_event_json, e.resume_error)
        run.next_time.pop(slot, None)
    elif new in (UP_FOR_RETRY, UP_FOR_RESCHEDULE):
        run.next_time[slot] = times.from_timestamp(e.next_time)
        run.sequences.pop(slot, None)
    elif new == RESTARTING:
        _keep_conf(run, slot, e)
    elif FINISHED[new]:
        _forget(run, slot)
    if e.sequence:
        run.sequences[slot] = e.sequence
    if e.cancelled_as:
        run.cancelled[slot] = e.cancelled_as
    _set(state, dag, run, slot, new)


def _keep_conf(run: Run, slot: int, e: ev.TaskCleared | ev.TaskStateChanged) -> None:
    run.confs.pop(slot, None)
    if e.HasField("conf"):
        run.confs[slot] = Blob()
        run.confs[slot].CopyFrom(e.conf)


def _set(state: PartitionState, dag: DagState, run: Run, slot: int, new: int) -> None:
    old = run.set_state(slot, new)
    if old == new:
        return
    run.since[slot] = state.event_seconds
    state.task_changed(dag, run, slot, old, new)
    if dag.looking_back and FINISHED[new]:
        _wake_next(state, dag, run, slot)


def _wake_next(state: PartitionState, dag: DagState, run: Run, slot: int) -> None:
    """Lets the next run look again at tasks that wait for this one."""
    position = run.position(slot)
    task_ids = [run.layout.task_ids[position], *(run.layout.task_ids[above] for above in run.layout.up[position])]
    for following in next_runs(dag, run):
        for task_id in task_ids:
            found = following.layout.index.get(task_id)
            if found is not None:
                following.dirty.extend(s for s in following.slots_of(found) if following.states[s] == NONE)
        if following.dirty:
            state.dirty_runs[id(following)] = following


def next_runs(dag: DagState, run: Run) -> list[Run]:
    """The live runs whose past this one may be: the next, and beyond those made by hand (see `blockers`)."""
    found: list[Run] = []
    for later in sorted((r for r in dag.runs.values() if r.logical > run.logical), key=lambda r: r.logical):
        found.append(later)
        if later.facts.run_type != RunType.RUN_TYPE_MANUAL:
            break
    return found


def _forget(run: Run, slot: int) -> None:
    """Drops what only concerns a try in progress."""
    for table in (
        run.next_time,
        run.sequences,
        run.first_start,
        run.deferrals,
        run.resumes,
        run.cancelled,
        run.pending,
    ):
        table.pop(slot, None)


def _task_ended(state: PartitionState, dag: DagState, run: Run, e: ev.TaskEnded) -> None:
    if e.task_id == LAYOUT_TASK:
        run.layout_try = -e.try_number
        return
    slot = run.slot(e.task_id, e.map_index)
    run.tries[slot] = e.try_number
    _forget(run, slot)
    new = e.state
    if new == UP_FOR_RETRY:
        run.next_time[slot] = times.from_timestamp(e.next_time)
        free = run.free.get(slot, 0)
        # Events without the field are older than it.
        if e.free_try if e.HasField("free_try") else _was_free(e, free):
            run.free[slot] = free + 1
    elif new == SUCCESS and run.layout.reports_length[run.position(slot)]:
        run.lengths[slot] = e.return_length
    _set(state, dag, run, slot, new)


def _was_free(e: ev.TaskEnded, free: int) -> bool:
    return free < 3 and free_retry_delay(e.outcome, e.HasField("start_time"), free) is not None


def _task_expanded(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    _, run = _run(state, dag_id, run_id)
    run.expand(run.layout.index[event.task_expanded.task_id], event.task_expanded.length, state.event_seconds)
    state.dirty_runs[id(run)] = run


def _task_cleared(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag, run = _run(state, dag_id, run_id)
    slot = run.slot(event.task_cleared.task_id, event.task_cleared.map_index)
    _forget(run, slot)
    run.base[slot] = run.tries[slot]
    run.free.pop(slot, None)
    _keep_conf(run, slot, event.task_cleared)
    run.lengths.pop(slot, None)
    run.segments[slot] = 0
    for position in run.skips.pop(slot, ()):
        run.skip_by[position].discard(slot)
    position = run.position(slot)
    if slot >= run.layout.n:
        run.remap.add(position)
    _set(state, dag, run, slot, NONE)
    run.dirty.append(slot)
    state.dirty_runs[id(run)] = run


def _task_skip_decided(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    _, run = _run(state, dag_id, run_id)
    e = event.task_skip_decided
    slot = run.slot(e.by_task_id, e.by_map_index)
    for position in run.skips.pop(slot, ()):
        run.skip_by[position].discard(slot)
    positions = [run.layout.index[task_id] for task_id in e.task_ids if task_id in run.layout.index]
    run.skips[slot] = positions
    for position in positions:
        run.skip_by.setdefault(position, set()).add(slot)


# -- runs ------------------------------------------------------------------------------------------------------


def _run_created(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    e = event.run_created
    layout = state.layouts.get(dag_id, e.version)
    if layout is None:
        raise MissingDefinitionError(f"{dag_id}@{e.version}, needed by run {run_id}, is not in workflow_definitions")
    facts = ev.RunCreated()
    facts.CopyFrom(e)
    state.add_run(state.dag(dag_id), Run(dag_id, run_id, layout, facts))


def _run_state_changed(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag, run = _run(state, dag_id, run_id)
    e = event.run_state_changed
    state.count_run(dag, run, -1)
    if run.state != e.state or not run.state_time:
        run.state_time = state.event_time
    run.state = e.state
    run.reason = e.reason
    state.count_run(dag, run, 1)
    if e.state == RUN_QUEUED:
        run.start = run.end = 0
    elif e.state == RUN_RUNNING:
        run.start = times.from_timestamp(e.start_time)
        run.end = 0
        run.dirty.extend(run.undecided())
        run.dirty.extend(position for position in run.instances if run.states[position] != NONE)
        state.dirty_runs[id(run)] = run
        state.arm_run(run)
    else:
        run.end = times.from_timestamp(e.end_time)
        run.ends += 1
        if not run.unfinished:
            _put_away(state, dag, run)


def _run_version_changed(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag, run = _run(state, dag_id, run_id)
    e = event.run_version_changed
    layout = state.layouts.get(dag_id, e.version)
    if layout is None:
        raise MissingDefinitionError(f"{dag_id}@{e.version}, needed by run {run_id}, is not in workflow_definitions")
    state.drop_run(dag, run)
    run.awaiting_layout = False
    run.rebind = ""
    _bind_again(run, layout)
    state.add_run(dag, run)


def _run_version_planned(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    _, run = _run(state, dag_id, run_id)
    run.rebind = event.run_version_planned.version


def _bind_again(run: Run, layout: Layout) -> None:
    old = Run(run.dag_id, run.run_id, run.layout, run.facts)
    for name in Run.__slots__:
        setattr(old, name, getattr(run, name))
    run.bind(layout)
    place = {deadline.name: index for index, deadline in enumerate(layout.definition.deadlines)}
    moved = {
        index: place[deadline.name]
        for index, deadline in enumerate(old.layout.definition.deadlines)
        if index in old.deadlines and deadline.name in place
    }
    run.deadlines = {moved[index]: due for index, due in old.deadlines.items() if index in moved}
    run.deadline_states = {moved[index]: held for index, held in old.deadline_states.items() if index in moved}
    _carry_over(old, run)
    run.recount()


def _carry_over(old: Run, new: Run) -> None:
    """Moves what is known of tasks that both layouts have; tries in progress were ended before."""
    pairs: list[tuple[int, int]] = []
    # All expansions first: where an instance is counted depends on whether the tasks below it are expanded.
    for position, task_id in enumerate(old.layout.task_ids):
        target = new.layout.index.get(task_id)
        if target is None:
            continue
        if position in old.instances and target in new.layout.lengths:
            new.expand(target, len(old.instances[position]))
            pairs.extend(zip(old.instances[position], new.instances[target], strict=True))
        elif position not in old.instances:
            pairs.append((position, target))
    for before, after in pairs:
        new.tries[after] = old.tries[before]
        new.since[after] = old.since[before]
        for table in ("base", "confs", "free", "lengths", "next_time"):
            if before in getattr(old, table):
                getattr(new, table)[after] = getattr(old, table)[before]
        new.set_state(after, old.states[before])


def _run_backfill_changed(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag, run = _run(state, dag_id, run_id)
    state.drop_run(dag, run)
    run.facts.backfill.CopyFrom(event.run_backfill_changed.backfill)
    run.facts.run_type = RunType.RUN_TYPE_BACKFILL
    run.order_facts = None
    # Which upstream tasks count may be others now.
    _bind_again(run, run.layout)
    state.add_run(dag, run)


def _run_conf_changed(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    _, run = _run(state, dag_id, run_id)
    run.facts.conf.CopyFrom(event.run_conf_changed.conf)
    run.order_facts = None


# -- DAGs and pools --------------------------------------------------------------------------------------------


def _dag_updated(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag = state.dag(dag_id)
    dag.updated = ev.DagUpdated()
    dag.updated.CopyFrom(event.dag_updated)
    dag.removed = False
    del dag.taken[: bisect_right(dag.taken, times.from_timestamp(dag.updated.last_scheduled_logical_date))]
    state.arm_dag(dag)


def _timetable_evaluated(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag = state.dag(dag_id)
    known = TimetableEvaluated()
    known.CopyFrom(event.timetable_evaluated)
    dag.evaluated = known


def _command_held(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    held = Command()
    held.CopyFrom(event.command_held.command)
    state.dag(dag_id).held[held.request_id] = held


def _command_released(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    state.dag(dag_id).held.pop(event.command_released.request_id, None)


# Updates of one asset that a DAG keeps while it waits for others.
_KEPT_UPDATES = 50
# Runs of partitions that a DAG keeps updates for, and updates of each.
_KEPT_PARTITIONS = 1_000
_KEPT_OF_PARTITION = 2_000
# Ids of a watcher's events that are remembered.
REMEMBERED_EVENTS = 2_000


def _asset_event(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    e = event.asset_event
    asset = state.asset((e.alias, e.name))
    kind = e.WhichOneof("kind")
    if kind == "subscribed":
        kept = AssetSubscribed()
        kept.CopyFrom(e.subscribed)
        asset.subscribers[kept.dag_id] = kept
    elif kind == "unsubscribed":
        asset.subscribers.pop(e.unsubscribed.dag_id, None)
    elif kind == "watcher_changed":
        _watcher_changed(asset, e.watcher_changed)
    elif kind == "stale":
        asset.stale_time = times.from_timestamp(e.stale.stale_time)
    else:
        if kind == "used":
            used = AssetUsed()
            used.CopyFrom(e.used)
            asset.first_used = asset.first_used if asset.users else state.event_time
            asset.users[used.dag_id] = used
        elif kind == "unused":
            asset.users.pop(e.unused.dag_id, None)
        else:
            asset.last_sequence = max(asset.last_sequence, e.updated.sequence)
            asset.last_time = times.from_timestamp(e.updated.time)
        if asset.users and not e.alias:
            state.arm_asset(e.name)


def _watcher_changed(asset: AssetState, e: ev.WatcherChanged) -> None:
    watcher = asset.watchers.setdefault(e.name, Watcher())
    told = ev.WatcherChanged()
    told.CopyFrom(e)
    told.ClearField("event_ids")
    before = watcher.told
    if not told.HasField("cursor"):
        told.cursor = before.cursor
    if e.state != ev.WATCHER_STATE_STARTING:
        told.generation = before.generation
        told.definition.CopyFrom(before.definition)
        if before.HasField("bundle"):
            told.bundle.CopyFrom(before.bundle)
        told.mark = e.mark or before.mark
    watcher.told = told
    for event_id in e.event_ids:
        watcher.seen[event_hash(event_id)] = None
    while len(watcher.seen) > REMEMBERED_EVENTS:
        watcher.seen.popitem(last=False)


def _asset_received(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag = state.dag(dag_id)
    if event.asset_received.ignored_reason:
        dag.ignored = ev.AssetReceived()
        dag.ignored.CopyFrom(event.asset_received)
        return
    kept = AssetUpdated()
    kept.CopyFrom(event.asset_received.update)
    if kept.run_partition_key:
        keep_partition(dag, kept)
        return
    dag.updates.append(kept)
    same = [u for u in dag.updates if (u.asset, u.via_alias) == (kept.asset, kept.via_alias)]
    if len(same) > _KEPT_UPDATES:
        dag.updates.remove(same[0])


def keep_partition(dag: DagState, update: AssetUpdated) -> None:
    """Keeps an update for the run of a partition; the oldest go when there are too many."""
    kept = dag.partitioned.setdefault(update.run_partition_key, {})
    asset = (True, update.via_alias) if update.via_alias else (False, update.asset)
    kept.pop((asset, update.partition_key), None)
    kept[(asset, update.partition_key)] = update
    if len(kept) > _KEPT_OF_PARTITION:
        del kept[next(iter(kept))]
    if len(dag.partitioned) > _KEPT_PARTITIONS:
        del dag.partitioned[next(iter(dag.partitioned))]


def _assets_consumed(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag = state.dag(dag_id)
    if event.assets_consumed.partition_key:
        dag.partitioned.pop(event.assets_consumed.partition_key, None)
        return
    dag.updates.clear()
    if not event.assets_consumed.run_id:
        dag.partitioned.clear()


def _deadline_changed(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    _, run = _run(state, dag_id, run_id)
    e = event.deadline_changed
    run.deadlines[e.index] = times.from_timestamp(e.deadline_time)
    run.deadline_states[e.index] = e.state
    if e.state == ev.DEADLINE_STATE_PENDING:
        state.arm_deadline(run, e.index)


def _run_measured(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag = state.dag(dag_id)
    measured = ev.RunMeasured()
    measured.CopyFrom(event.run_measured)
    dag.measured = [*dag.measured[-MEASURED_RUNS + 1 :], measured]


def _dag_removed(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag = state.dag(dag_id)
    dag.removed = True
    dag.updates.clear()
    dag.partitioned.clear()
    dag.updated.ClearField("next_run_time")
    dag.updated.version_time.CopyFrom(times.to_timestamp(state.event_time))


def _backfill_created(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag = state.dag(dag_id)
    created = ev.BackfillCreated()
    created.CopyFrom(event.backfill_created)
    dag.backfills[created.request.backfill_id] = Backfill(created)
    ended = [backfill_id for backfill_id, backfill in dag.backfills.items() if backfill.ended]
    for backfill_id in ended[: max(0, len(ended) - state.limits.keep_ended_backfills)]:
        del dag.backfills[backfill_id]


def _backfill_advanced(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    dag = state.dag(dag_id)
    e = event.backfill_advanced
    dag.backfills[e.backfill_id].advance(e)
    scheduled = times.from_timestamp(dag.updated.last_scheduled_logical_date)
    for interval in e.intervals:
        logical = times.from_timestamp(interval.logical_date)
        if logical > scheduled:
            insort(dag.taken, logical)


def _backfill_state_changed(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    e = event.backfill_state_changed
    state.dag(dag_id).backfills[e.backfill_id].change(e.state)


def _command_answered(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    kind = event.WhichOneof("kind")
    request_id = getattr(event, kind or "").request_id
    if request_id:
        state.request_ids[request_id] = None
        while len(state.request_ids) > state.limits.remembered_requests:
            state.request_ids.popitem(last=False)


def _pool_event(state: PartitionState, dag_id: str, run_id: str, e: ev.PoolEvent) -> None:
    kind = e.WhichOneof("kind")
    if run_id:
        _asking(state, dag_id, run_id, e, kind or "")
        return
    pool = state.pool(e.pool)
    if kind == "changed":
        _pool_changed(state, pool, e.changed)
    elif kind == "requested":
        pool.request(e.requested, state.now)
    elif kind == "granted":
        pool.grant((e.granted.try_key.dag_id, e.granted.request))
    elif kind == "released":
        pool.release((e.released.try_key.dag_id, e.released.request))


def _pool_changed(state: PartitionState, pool: Pool, changed: PoolChanged) -> None:
    pool.slots = -1 if changed.deleted else changed.slots
    pool.description = changed.description
    if pool.include_deferred != changed.include_deferred:
        state.rouse()
        pool.include_deferred = changed.include_deferred
        for dag in state.dags.values():
            for run in dag.runs.values():
                for slot, held in enumerate(run.states):
                    position = run.position(slot)
                    if held == DEFERRED and run.pools[position] == pool.name:
                        slots = run.layout.pool_slots[position]
                        pool.used += slots if pool.include_deferred else -slots


def _asking(state: PartitionState, dag_id: str, run_id: str, e: ev.PoolEvent, kind: str) -> None:
    """The asking side: what a run knows of its requests to pools of other partitions."""
    _, run = _run(state, dag_id, run_id)
    message = getattr(e, kind)
    slot = run.slot(message.try_key.task_id, message.try_key.map_index)
    if kind == "requested":
        run.requests[slot] = message.request
        state.last_request = max(state.last_request, message.request)
    elif kind == "granted":
        run.granted.add(slot)
        state.foreign_deferred[e.pool] = message.include_deferred
    else:
        run.requests.pop(slot, None)
        run.granted.discard(slot)


def _nothing(state: PartitionState, dag_id: str, run_id: str, event: ev.WorkflowEvent) -> None:
    """What is only told to others."""


_RARE = {
    "dag_updated": _dag_updated,
    "dag_removed": _dag_removed,
    "timetable_evaluated": _timetable_evaluated,
    "command_held": _command_held,
    "command_released": _command_released,
    "asset_event": _asset_event,
    "deadline_changed": _deadline_changed,
    "run_measured": _run_measured,
    "asset_received": _asset_received,
    "assets_consumed": _assets_consumed,
    "command_accepted": _command_answered,
    "command_rejected": _command_answered,
    "run_created": _run_created,
    "run_state_changed": _run_state_changed,
    "run_version_changed": _run_version_changed,
    "run_conf_changed": _run_conf_changed,
    "run_version_planned": _run_version_planned,
    "run_backfill_changed": _run_backfill_changed,
    "backfill_created": _backfill_created,
    "backfill_advanced": _backfill_advanced,
    "backfill_state_changed": _backfill_state_changed,
    "task_expanded": _task_expanded,
    "task_cleared": _task_cleared,
    "task_skip_decided": _task_skip_decided,
    "callback_changed": _nothing,
}
