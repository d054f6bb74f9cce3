"""What the state of a run asks for next: who may run, who is skipped, who gets a slot.

`settle` looks only at instances that something changed for, until nothing is left to do; it never walks over runs.
"""

from __future__ import annotations

from heapq import heappop, heappush

from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.events.v1.events_pb2 import TaskEnded, WorkflowEvent
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage, PoolMessage, PoolSlotGranted, PoolSlotRequested

from spinner_scheduler.domain import blockers, mapping, trigger_rules
from spinner_scheduler.domain.asking import release
from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.decision import Decision
from spinner_scheduler.domain.orders import execution_record, task_order, try_key
from spinner_scheduler.domain.pools import Address, Pool
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.states import (
    CATEGORY,
    EXPANDED,
    FAILED,
    NONE,
    QUEUED,
    SCHEDULED,
    SKIPPED,
    SUCCESS,
    UPSTREAM_FAILED,
)
from spinner_scheduler.domain.trigger_rules import READY, SUCCESS_DECIDES, WAIT, WAITS_FOR_ALL, verdict


def settle(d: Decision) -> None:
    """Follows all consequences of the events so far."""
    state = d.state
    while state.dirty_runs:
        _, run = state.dirty_runs.popitem()
        dag = state.dags[run.dag_id]
        dirty = run.dirty
        if blockers.standstill(dag, run) is not None or dag.runs.get(run.run_id) is not run:
            dirty.clear()
            continue
        while dirty:
            slots, run.dirty = dirty, []
            for slot in slots:
                check(d, dag, run, slot)
            dirty = run.dirty
        state.dirty_runs.pop(id(run), None)


# -- one instance ------------------------------------------------------------------------------------------------


def check(d: Decision, dag: DagState, run: Run, slot: int) -> None:
    """Decides on one task instance that has no state yet."""
    held = run.states[slot]
    if held == EXPANDED:
        _check_instances(d, dag, run, slot)
        return
    if held != NONE or slot in run.wanted:
        return
    layout = run.layout
    n = layout.n
    position = slot if slot < n else run.ext_pos[slot - n]
    if run.part is not None and run.excludes(position):
        d.task_state(run, slot, SKIPPED, reason="it is not in the task list of the run's backfill")
        return
    if run.skip_by and _skipped(run, position, slot):
        d.task_state(run, slot, SKIPPED, reason="a branch or short circuit above it decided so")
        return
    if not layout.has_special:
        counts = run.counts
        result = verdict(
            layout.rules[position],
            run.totals[slot],
            counts[1][slot],
            counts[2][slot],
            counts[3][slot],
            counts[4][slot],
        )
        if result == WAIT:
            return
        if result != READY:
            d.task_state(run, slot, result)
            return
    else:
        if layout.has_dates and (why := blockers.outside_dates(run, position)):
            d.task_state(run, slot, SKIPPED, reason=why)
            return
        result = answer(run, slot)
        if result == WAIT:
            return
        if asks_past(run, position, result) and blockers.beside_upstream(d.state, dag, run, position, slot) is not None:
            return
        if result != READY:
            d.task_state(run, slot, result)
            return
        if position in layout.lengths and (slot < n or position in run.remap):
            _expand(d, run, position)
            return
    if layout.inline[position]:
        _end_inline(d, run, slot)
    else:
        d.want(run, slot)


def asks_past(run: Run, position: int, result: int) -> bool:
    """Whether earlier runs matter for an instance whose trigger rule gave this verdict."""
    if result == SKIPPED:
        return run.layout.has_past and run.layout.tasks[position].wait_for_past_depends_before_skipping
    return result == READY


def answer(run: Run, slot: int) -> int:
    """The trigger rule's verdict on an instance, with the setups above it that are not its direct upstream."""
    result = answer_of_rule(run, slot)
    layout = run.layout
    if layout.has_setups and result == READY:
        for s in indirect_setups(run, slot):
            category = CATEGORY[run.states[s]]
            if category in (2, 4):
                return UPSTREAM_FAILED
            if category == 3:
                return SKIPPED
            if category == 0:
                result = WAIT
    return result


def indirect_setups(run: Run, slot: int) -> list[int]:
    """The instances of setups that an instance must wait for although they are not its direct upstream."""
    setups = run.layout.indirect_setups.get(run.position(slot), ())
    return [s for setup in setups for s in relevant(run, setup, slot)]


def answer_of_rule(run: Run, slot: int) -> int:
    """The trigger rule's verdict on an instance, with mapping."""
    layout = run.layout
    position = run.position(slot)
    c = run.counts
    total = run.totals[slot]
    success, failed, skipped, upstream_failed = c[1][slot], c[2][slot], c[3][slot], c[4][slot]
    if slot >= layout.n:
        # Shared with its siblings: what is counted in the mapped task's own slot.
        total += run.totals[position]
        success += c[1][position]
        failed += c[2][position]
        skipped += c[3][position]
        upstream_failed += c[4][position]
    rule = layout.rules[position]
    task = layout.tasks[position]
    states: list[int] = []
    if rule == trigger_rules.ALL_DONE_SETUP_SUCCESS and task.setups:
        states = [run.states[s] for setup in task.setups for s in relevant(run, setup, slot)]
    return verdict(
        rule,
        total,
        success,
        failed,
        skipped,
        upstream_failed,
        len(states),
        states.count(SUCCESS),
        states.count(SKIPPED),
    )


def relevant(run: Run, above: int, slot: int) -> list[int]:
    """The instances of a task that concern an instance: in one mapped group those of its map index."""
    layout = run.layout
    group = layout.mapped_group[above]
    if (
        group
        and slot >= layout.n
        and layout.mapped_group[run.position(slot)] == group
        and run.states[above] == EXPANDED
    ):
        return [run.instances[above][run.map_index(slot)]]
    return run.slots_of(above)


def _skipped(run: Run, position: int, slot: int) -> bool:
    for source in run.skip_by.get(position, ()):
        if CATEGORY[run.states[source]] == 1 and _same_index(run, source, position, slot):
            return True
    return False


def _same_index(run: Run, source: int, position: int, slot: int) -> bool:
    layout = run.layout
    group = layout.mapped_group[run.position(source)]
    if source < layout.n or not group or layout.mapped_group[position] != group or slot < layout.n:
        return True
    return run.map_index(source) == run.map_index(slot)


# -- mapping -----------------------------------------------------------------------------------------------------


def _check_instances(d: Decision, dag: DagState, run: Run, position: int) -> None:
    c = run.counts
    rule = run.layout.rules[position]
    if rule in WAITS_FOR_ALL:
        decisive = c[2][position] + c[3][position] + c[4][position]
        if rule in SUCCESS_DECIDES:
            decisive += c[1][position]
        if not decisive and c[1][position] < run.totals[position]:
            return
    for slot in list(run.instances[position]):
        if run.states[slot] == NONE:
            check(d, dag, run, slot)


def _expand(d: Decision, run: Run, position: int) -> None:
    layout = run.layout
    length = mapping.evaluate(layout.lengths[position], run)
    group = layout.mapped_group[position]
    members = layout.group_members[group] if group else [position]
    again = run.states[position] == EXPANDED
    if length is None or length > d.state.limits.max_map_length or (length == 0 and not again):
        new, reason = SKIPPED, "there is nothing to map over: the length is 0"
        if length is None:
            new, reason = UPSTREAM_FAILED, "the length of its expansion is unknown: a task that gives it has none"
        elif length:
            new = FAILED
            reason = (
                f"its expansion has {length} instances, the limit max_map_length is {d.state.limits.max_map_length}"
            )
        for member in members:
            for slot in run.slots_of(member):
                if run.states[slot] == NONE:
                    d.task_state(run, slot, new, reason=reason)
        return
    for member in members:
        task_id = layout.task_ids[member]

        def fill(event: WorkflowEvent, task_id: str = task_id, length: int = length) -> None:
            event.task_expanded.task_id = task_id
            event.task_expanded.length = length

        if run.states[member] in (NONE, EXPANDED):
            d.emit(run.dag_id, run.run_id, fill)
            run.dirty.extend(slot for slot in run.instances[member] if run.states[slot] == NONE)
    d.state.dirty_runs[id(run)] = run


# -- ends without a worker ---------------------------------------------------------------------------------------


def _end_inline(d: Decision, run: Run, slot: int) -> None:
    ended = TaskEnded(
        task_id=run.layout.task_ids[run.position(slot)],
        map_index=run.map_index(slot),
        try_number=run.tries[slot] + 1,
        state=SUCCESS,  # type: ignore[arg-type]
        outcome=Outcome.OUTCOME_SUCCESS,
        start_time=d.time,
        end_time=d.time,
        return_length=-1,
    )
    d.result.executions.append(execution_record(run, slot, ended))
    d.task_ended(run, ended)


# -- slots -------------------------------------------------------------------------------------------------------


def dispatch(d: Decision) -> None:
    """Gives free slots to those first in their queues."""
    for pool in list(d.state.pools.values()):
        if pool.queue:
            if pool.owned:
                _dispatch_owned(d, pool)
            else:
                _ask(d, pool)


def _dispatch_owned(d: Decision, pool: Pool) -> None:
    queue = pool.queue
    blocked: list[tuple[int, int, str, str, int, tuple[str, int], Run | None]] = []
    while queue and pool.free() > 0:
        entry = heappop(queue)
        _, _, _dag_id, _run_id, slot, key, run = entry
        if run is None:
            request = pool.requests.get(key)
            if request is None or request.granted:
                continue
            if blockers.pool(pool, request.message.slots) is not None:
                blocked.append(entry)
                break
            grant(d, pool, request.message)
            continue
        dag = _still_wanted(d, run, slot)
        if dag is None:
            continue
        position = run.position(slot)
        if blockers.pool(pool, run.layout.pool_slots[position]) is not None:
            blocked.append(entry)
            break
        if not _park(d, dag, run, position, slot):
            start(d, dag, run, slot)
    for entry in blocked:
        heappush(queue, entry)


def _still_wanted(d: Decision, run: Run, slot: int) -> DagState | None:
    dag = d.state.dags[run.dag_id]
    if slot not in run.wanted or dag.runs.get(run.run_id) is not run:
        return None
    held = blockers.standstill(dag, run)
    if held is None:
        return dag
    if held is blockers.DAG_PAUSED:
        dag.parked_by_pause.append((run.run_id, slot))
    else:
        run.wanted.discard(slot)
    return None


def _park(d: Decision, dag: DagState, run: Run, position: int, slot: int) -> bool:
    """Puts an instance aside whose run or task is at its limit; it comes back when a slot frees."""
    full = blockers.limit(d.state, dag, run, position)
    if full is None:
        return False
    priority = -run.layout.priority(position, run.next_try(slot))
    if full is blockers.MAX_ACTIVE_TASKS:
        heappush(run.parked, (priority, slot))
        return True
    parked = dag.parked_by_task.setdefault(run.layout.task_ids[position], [])
    heappush(parked, (priority, run.priority_date, run.run_id, slot))
    d.touched[(run.dag_id, run.run_id)] = None
    return True


def unpark_run(d: Decision, run: Run) -> bool:
    """Lets as many of those that wait for their run's limit try as it has room for."""
    free = d.state.max_active_tasks(run.layout) - run.holding
    moved = False
    while run.parked and free > 0:
        _, slot = heappop(run.parked)
        if slot in run.wanted:
            d.state.enqueue(run, slot)
            free -= 1
            moved = True
    return moved


def release_parked(d: Decision) -> bool:
    """Lets those try again whose limit has room now; True if there are any.

    Invariant when nothing is left to do: who waits for a run's or task's limit finds it full. Those let go may end
    up waiting for a pool instead, so this is asked again until it finds nobody.
    """
    freed, d.state.freed = d.state.freed, []
    moved = False
    for run, slot in freed:
        dag = d.state.dags[run.dag_id]
        parked = dag.parked_by_task.pop(run.layout.task_ids[run.position(slot)], None)
        for _, _, run_id, waiting in parked or ():
            other = dag.runs.get(run_id)
            if other is not None and waiting in other.wanted:
                d.state.enqueue(other, waiting)
                moved = True
    for dag_id, run_id in d.touched:
        touched = d.state.dags[dag_id].runs.get(run_id)
        if touched is not None and touched.parked:
            moved = unpark_run(d, touched) or moved
    return moved


def start(d: Decision, dag: DagState, run: Run, slot: int) -> None:
    """Orders the next segment of an instance from the executors."""
    resumed = run.states[slot] == SCHEDULED and run.segments[slot] > 0 and slot in run.resumes
    try_number = run.tries[slot] if resumed else run.tries[slot] + 1
    segment = run.segments[slot] if resumed else 0
    d.order(task_order(d.state, dag, run, slot, try_number, segment))
    d.task_state(run, slot, QUEUED, try_number=try_number, segment=segment)


# -- pools of other partitions -----------------------------------------------------------------------------------


def _ask(d: Decision, pool: Pool) -> None:
    owner = d.state.pool_owner(pool.name)
    while pool.queue:
        _, _, _, _, slot, _, run = heappop(pool.queue)
        if run is None:
            continue
        dag = _still_wanted(d, run, slot)
        if dag is None:
            continue
        position = run.position(slot)
        if _park(d, dag, run, position, slot):
            if slot in run.requests:
                # A slot that can't be used now is of more use to others.
                release(d, run, slot, run.requests[slot])
            continue
        if slot in run.granted:
            start(d, dag, run, slot)
            continue
        if slot in run.requests:
            continue
        resumed = slot in run.resumes
        request = PoolSlotRequested(
            try_key=try_key(run, slot, run.tries[slot] + (0 if resumed else 1)),
            slots=run.layout.pool_slots[position],
            priority=run.layout.priority(position, run.next_try(slot)),
            reply_topic=d.state.here.inbox,
            reply_partition=d.state.here.partition,
            request=d.state.last_request + 1,
        )
        d.send(owner, pool.name, InboxMessage(pool=PoolMessage(pool=pool.name, requested=request)))

        def fill(event: WorkflowEvent, name: str = pool.name, request: PoolSlotRequested = request) -> None:
            event.pool_event.pool = name
            event.pool_event.requested.CopyFrom(request)

        d.emit(run.dag_id, run.run_id, fill)


def grant(d: Decision, pool: Pool, request: PoolSlotRequested) -> None:
    """Grants a slot to a task of another partition."""
    granted = PoolSlotGranted(try_key=request.try_key, request=request.request, include_deferred=pool.include_deferred)

    d.emit_pool(pool.name, lambda event: event.granted.CopyFrom(granted))
    to = Address(request.reply_topic, request.reply_partition)
    d.send(to, request.try_key.dag_id, InboxMessage(pool=PoolMessage(pool=pool.name, granted=granted)))
