"""What one task instance waits for: the predicates that decide, asked again, and what the state says beside them.

`held` gives every reason at once and builds its text only when it is asked for: of ten thousand instances that wait
for the same thing, one is described and all are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from spinner_proto.explain.v1.explain_pb2 import Party, Reason
from spinner_proto.inbox.v1.inbox_pb2 import HumanRequest

from spinner_scheduler.domain import blockers, mapping, parties, tasks, times
from spinner_scheduler.domain.blockers import Blocker
from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.pools import Pool
from spinner_scheduler.domain.reasons import CATALOGUE, Code
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.domain.states import (
    CATEGORY,
    DEFERRED,
    FINISHED,
    NONE,
    OPEN,
    RESTARTING,
    RUNNING,
    UP_FOR_RESCHEDULE,
    UP_FOR_RETRY,
)
from spinner_scheduler.domain.trigger_rules import NAMES, READY, WAIT

_QUEUE_COUNTED = 10_000


class View(NamedTuple):
    """What is looked at, and when (µs). `pools`: the holders found so far, which many instances ask for."""

    state: PartitionState
    dag: DagState
    now: int
    pools: dict[str, tuple[list[Party], int]]


class Held(NamedTuple):
    """A reason of one instance. Instances with the same code and key wait for the same thing."""

    code: Code
    key: str
    build: Callable[[], Reason]


def reason(
    code: Code,
    message: str,
    *,
    dag: str = "",
    run: str = "",
    task: str = "",
    pool: str = "",
    since: int = 0,
    until: int = 0,
    holders: list[Party] | None = None,
    holder_count: int = 0,
    note: bool = False,
) -> Reason:
    """A Reason with the catalogue's fix, filled in. Times in µs, 0 for unknown."""
    found = Reason(code=code, message=message, note=note)
    found.fix = CATALOGUE[code].fix.format(dag=dag or "DAG", run=run or "RUN", task=task or "TASK", pool=pool or "POOL")
    parties.set_time(found.since, since)
    parties.set_time(found.until, until)
    if holders:
        found.holders.extend(holders[: parties.MOST])
        found.holder_count = max(holder_count, len(holders))
    return found


def held(view: View, run: Run, slot: int, thorough: bool) -> Iterator[Held]:
    """Every reason why an unfinished instance has not ended. `thorough`: also what is only asked about later."""
    state = run.states[slot]
    if FINISHED[state]:
        return
    if slot in run.cancelled or state == RESTARTING:
        yield _being_killed(run, slot, state)
        return
    if OPEN[state]:
        yield _open(view, run, slot, state)
        return
    still = blockers.standstill(view.dag, run)
    if still is blockers.RUN_ENDED:
        return
    if still is not None:
        yield _standing(view, run, slot, still)
    found = False
    for one in _waiting(view, run, slot, state, thorough):
        found = True
        yield one
    if still is None and not found:
        yield Held(Code.NEXT_DECISION, "", lambda: _plain(run, slot, Code.NEXT_DECISION, "nothing holds it any more"))


def _waiting(view: View, run: Run, slot: int, state: int, thorough: bool) -> Iterator[Held]:
    if state == NONE and slot not in run.wanted:
        yield from _upstream(view, run, slot, thorough)
    elif state == UP_FOR_RETRY:
        if run.next_time.get(slot, 0) > view.now:
            text = f"try {run.tries[slot]} ended without success; the next one is due later"
            yield _until(run, slot, Code.RETRY_DELAY, text)
    elif state == UP_FOR_RESCHEDULE:
        if run.next_time.get(slot, 0) > view.now:
            yield _until(run, slot, Code.RESCHEDULED, "its sensor sleeps until it looks again")
    else:
        yield from _queued_for_slots(view, run, slot)


def _plain(run: Run, slot: int, code: Code, message: str, **more: object) -> Reason:
    task_id = run.layout.task_ids[run.position(slot)]
    if "since" not in more:
        more["since"] = parties.since(run, slot)
    return reason(code, message, dag=run.dag_id, run=run.run_id, task=task_id, **more)  # type: ignore[arg-type]


def _until(run: Run, slot: int, code: Code, message: str) -> Held:
    return Held(code, "", lambda: _plain(run, slot, code, message, until=run.next_time[slot]))


# -- the run -----------------------------------------------------------------------------------------------------


def _standing(view: View, run: Run, slot: int, still: Blocker) -> Held:
    if still is blockers.DAG_PAUSED:
        return Held(paused_code(view.dag), "", lambda: paused(view.dag))
    if still is blockers.LAYOUT_PENDING:
        return Held(Code.LAYOUT_PENDING, "", lambda: layout_pending(run))
    if still is blockers.VERSION_PENDING:
        return Held(Code.VERSION_PENDING, "", lambda: version_pending(run))

    def build() -> Reason:
        message = f"its run {run.run_id} is queued"
        since = run.state_time or run.priority_date
        return _plain(run, slot, Code.RUN_NOT_STARTED, message, since=since, holders=[parties.of_run(run)])

    return Held(Code.RUN_NOT_STARTED, "", build)


def paused_code(dag: DagState) -> Code:
    by_failures = dag.updated.consecutive_failed_runs and not dag.updated.paused_by.name and dag.updated.paused_reason
    return Code.DAG_PAUSED_BY_FAILURES if by_failures else Code.DAG_PAUSED


def paused(dag: DagState) -> Reason:
    said = dag.updated
    message = f"DAG {dag.dag_id} is paused: no run begins, and no task of its runs"
    if said.paused_reason:
        message = f"DAG {dag.dag_id} is paused: {said.paused_reason}"
    holders = [parties.named("person", said.paused_by.name)] if said.paused_by.name else []
    since = times.from_timestamp(said.paused_time)
    return reason(paused_code(dag), message, dag=dag.dag_id, since=since, holders=holders)


def version_pending(run: Run) -> Reason:
    message = f"its tries in progress are being killed, then it takes version {run.rebind}"
    return reason(Code.VERSION_PENDING, message, dag=run.dag_id, run=run.run_id, since=run.state_time)


def layout_pending(run: Run) -> Reason:
    message = f"a worker computes its layout (try {abs(run.layout_try) or 1})"
    return reason(
        Code.LAYOUT_PENDING,
        message,
        dag=run.dag_id,
        run=run.run_id,
        task="__layout__",
        since=run.start or run.state_time,
    )


# -- upstream ----------------------------------------------------------------------------------------------------


def _upstream(view: View, run: Run, slot: int, thorough: bool) -> Iterator[Held]:
    layout, position = run.layout, run.position(slot)
    verdict = tasks.answer_of_rule(run, slot)
    if verdict == WAIT:
        awaited = mapping.sources(layout.lengths[position]) if position in layout.lengths and slot < layout.n else set()

        def lengths() -> Iterator[int]:
            return _unfinished(run, (s for above in awaited for s in run.slots_of(above)))

        def others() -> Iterator[int]:
            above_it = (above for above in layout.up[position] if above not in awaited)
            return _unfinished(run, (s for above in above_it for s in tasks.relevant(run, above, slot)))

        by_length = next(lengths(), None) is not None
        if by_length:
            yield _awaits(run, slot, Code.MAP_LENGTH_PENDING, "the length of its expansion comes from", lengths)
        if not by_length or next(others(), None) is not None:
            text = f"its trigger rule {NAMES[layout.rules[position]]} waits for"
            yield _awaits(run, slot, Code.UPSTREAM_NOT_DONE, text, others)
    if layout.has_setups and (verdict == READY or thorough):

        def setups() -> Iterator[int]:
            return _unfinished(run, tasks.indirect_setups(run, slot))

        if next(setups(), None) is not None:
            yield _awaits(run, slot, Code.SETUP_NOT_DONE, "it is in the scope of", setups)
    if layout.has_past and (thorough or tasks.asks_past(run, position, tasks.answer(run, slot))):
        beside = blockers.beside_upstream(view.state, view.dag, run, position, slot)
        if beside is not None:
            yield Held(beside.code, beside.run_id, lambda: _beside(view, run, slot, beside))


def _unfinished(run: Run, slots: Iterable[int]) -> Iterator[int]:
    return (s for s in slots if not CATEGORY[run.states[s]])


def _awaits(run: Run, slot: int, code: Code, text: str, unfinished: Callable[[], Iterator[int]]) -> Held:
    def build() -> Reason:
        awaited = list(unfinished())
        count = len(awaited)
        what = "1 task instance that has not ended" if count == 1 else f"{count} task instances that have not ended"
        holders = [parties.of_task(run, s) for s in awaited[: parties.MOST]]
        return _plain(run, slot, code, f"{text} {what}", holders=holders, holder_count=count)

    return Held(code, "", build)


def _beside(view: View, run: Run, slot: int, found: Blocker) -> Reason:
    holder = parties.named("task", found.task_id)
    holder.dag_id, holder.run_id, holder.task_id = run.dag_id, found.run_id, found.task_id
    earlier = view.dag.runs.get(found.run_id)
    if earlier is not None:
        holder = parties.of_task(earlier, earlier.layout.index[found.task_id])
    rule = found.code.lower()
    message = f"{rule}: {found.task_id} has not succeeded in the run before, {found.run_id}"
    return _plain(run, slot, found.code, message, holders=[holder])


# -- slots -------------------------------------------------------------------------------------------------------


def _queued_for_slots(view: View, run: Run, slot: int) -> Iterator[Held]:
    position = run.position(slot)
    full = blockers.limit(view.state, view.dag, run, position)
    if full is not None:
        key = "" if full is blockers.MAX_ACTIVE_TASKS else run.layout.task_ids[position]
        yield Held(full.code, key, lambda: _limit(view, run, slot, full))
    pool = view.state.pool(run.pools[position])
    if pool.owned:
        yield from _own_pool(view, run, slot, pool)
    elif slot in run.requests and slot not in run.granted:
        yield Held(Code.POOL_NOT_ANSWERED, pool.name, lambda: _foreign_pool(view, run, slot, pool))


def _limit(view: View, run: Run, slot: int, full: Blocker) -> Reason:
    position = run.position(slot)
    task_id = run.layout.task_ids[position]
    per_dag, per_run = run.layout.limits.get(position, (0, 0))
    if full.code == Code.MAX_ACTIVE_TASKS:
        most = view.state.max_active_tasks(run.layout)
        holders = parties.first(parties.of_task(run, s) for s in parties.holding(run))
        message = f"{run.holding} tasks of its run are active, max_active_tasks is {most}"
        return _plain(run, slot, full.code, message, holders=holders, holder_count=run.holding)
    if full.code == Code.MAX_ACTIVE_TIS_PER_RUN:
        count = run.task_holding.get(position, 0)
        holders = parties.first(parties.of_task(run, s) for s in parties.holding(run) if run.position(s) == position)
        message = f"{count} instances of {task_id} are active in its run, max_active_tis_per_dagrun is {per_run}"
        return _plain(run, slot, full.code, message, holders=holders, holder_count=count)
    count = view.dag.held_by_task.get(task_id, 0)
    holders = parties.first(
        parties.of_task(other, s)
        for other in view.dag.runs.values()
        if other.holding
        for s in parties.holding(other)
        if other.layout.task_ids[other.position(s)] == task_id
    )
    message = f"{count} instances of {task_id} are active in all runs, max_active_tis_per_dag is {per_dag}"
    return _plain(run, slot, full.code, message, holders=holders, holder_count=count)


def _own_pool(view: View, run: Run, slot: int, pool: Pool) -> Iterator[Held]:
    wanted = run.layout.pool_slots[run.position(slot)]
    blocked = blockers.pool(pool, wanted)
    if blocked is not None:
        yield Held(blocked.code, pool.name, lambda: _pool(view, run, slot, pool, blocked))
    elif slot in run.wanted and pool.queue and (pool.queue[0][-1], pool.queue[0][4]) != (run, slot):
        # There is room for it, but who is first needs more and nobody passes it.
        ahead = pool.queue[0]
        needs = _slots_of(pool, ahead)
        if blockers.pool(pool, needs) is not None:
            yield Held(Code.POOL_QUEUE, pool.name, lambda: _behind(run, slot, pool, ahead, needs))


def _slots_of(pool: Pool, entry: tuple[int, int, str, str, int, tuple[str, int], Run | None]) -> int:
    _, _, _, _, slot, key, run = entry
    if run is not None:
        return run.layout.pool_slots[run.position(slot)]
    request = pool.requests.get(key)
    return request.message.slots if request is not None else 0


def _pool(view: View, run: Run, slot: int, pool: Pool, blocked: Blocker) -> Reason:
    wanted = run.layout.pool_slots[run.position(slot)]
    name = pool.name
    if blocked.code == Code.POOL_MISSING:
        message = f"pool {name} does not exist"
    elif blocked.code == Code.POOL_HAS_NO_SLOTS:
        message = f"pool {name} has 0 slots"
    elif blocked.code == Code.POOL_TOO_SMALL:
        message = f"it wants {wanted} slots of pool {name}, which has {pool.slots}"
    else:
        return pool_full(view, run, slot, pool)
    return _plain(run, slot, blocked.code, message, pool=name, holders=[parties.named("pool", name)])


def pool_full(view: View, run: Run, slot: int, pool: Pool) -> Reason:
    """Who holds the pool, and how many are before the instance in its queue."""
    found = view.pools.get(pool.name)
    if found is None:
        found = view.pools[pool.name] = parties.holders_of_pool(view.state, pool)
    holders, slots = found
    position = run.position(slot)
    priority = (
        run.layout.priority(position, run.next_try(slot)) if run.layout.weights else run.layout.priorities[position]
    )
    mine = (-priority, run.priority_date, run.dag_id, run.run_id, slot)
    # The heap may hold void and double entries.
    before = len(
        {
            entry[2:6]
            for entry in pool.queue[:_QUEUE_COUNTED]
            if entry[:5] < mine and (entry[6] is None or entry[4] in entry[6].wanted)
        }
    )
    wanted = run.layout.pool_slots[position]
    message = f"{slots} of {pool.slots} slots of pool {pool.name} are taken"
    if wanted > 1:
        message += f" and it wants {wanted}"
    if before:
        message += f"; {before} are before it in the queue"
    return _plain(run, slot, Code.POOL_FULL, message, pool=pool.name, holders=holders, holder_count=len(holders))


def _behind(
    run: Run,
    slot: int,
    pool: Pool,
    ahead: tuple[int, int, str, str, int, tuple[str, int], Run | None],
    needs: int,
) -> Reason:
    _, _, _, _, other, key, owner = ahead
    holder = parties.of_task(owner, other) if owner is not None else parties.of_try(pool.requests[key].message.try_key)
    message = f"{holder.name} is first in the queue of pool {pool.name} and needs {needs} slots; {pool.free()} are free"
    return _plain(run, slot, Code.POOL_QUEUE, message, pool=pool.name, holders=[holder])


def _foreign_pool(view: View, run: Run, slot: int, pool: Pool) -> Reason:
    owner = parties.of_partition(view.state.pool_owner(pool.name))
    message = f"partition {owner.name}, which owns pool {pool.name}, has not granted it a slot"
    holders = [owner, parties.named("pool", pool.name)]
    return _plain(run, slot, Code.POOL_NOT_ANSWERED, message, pool=pool.name, holders=holders)


# -- tries -------------------------------------------------------------------------------------------------------


def _being_killed(run: Run, slot: int, state: int) -> Held:
    if state == RESTARTING:
        text = f"it was cleared while try {run.tries[slot]} ran: that worker is being killed first"
        return Held(Code.RESTARTING, "", lambda: _plain(run, slot, Code.RESTARTING, text))
    text = f"the worker of try {run.tries[slot]} is being killed; its end is not reported yet"
    return Held(Code.CANCELLING, "", lambda: _plain(run, slot, Code.CANCELLING, text))


def _open(view: View, run: Run, slot: int, state: int) -> Held:
    number = run.tries[slot]
    if state == RUNNING:
        return Held(Code.RUNNING, "", lambda: _running(run, slot))
    if state == DEFERRED:
        deferral = run.deferrals.get(slot)
        if deferral is not None and deferral.HasField("human"):
            return Held(Code.DECISION_PENDING, "", lambda: _undecided(run, slot, deferral.human))
        return Held(Code.DEFERRED, "", lambda: _deferred(run, slot))
    pending = run.pending.get(slot)
    if pending:
        text = f"the cluster does not start try {number} yet: {pending}"
        return Held(Code.EXECUTOR_PENDING, pending, lambda: _plain(run, slot, Code.EXECUTOR_PENDING, text))
    if run.sequences.get(slot):
        text = f"the worker of try {number} was launched and has not started user code"
        return Held(Code.LAUNCHED_NOT_STARTED, "", lambda: _plain(run, slot, Code.LAUNCHED_NOT_STARTED, text))
    cluster = run.layout.definition.placement.cluster

    def unanswered() -> Reason:
        text = f"try {number} is ordered from the executors of cluster {cluster}, none has answered"
        holder = parties.named("executor", f"cluster {cluster}")
        limit = run.layout.queued_timeouts.get(run.position(slot), view.state.limits.queued_timeout)
        until = parties.since(run, slot) + limit if limit else 0
        return _plain(run, slot, Code.NO_EXECUTOR_ANSWER, text, holders=[holder], until=until)

    return Held(Code.NO_EXECUTOR_ANSWER, "", unanswered)


def _running(run: Run, slot: int) -> Reason:
    task = run.layout.tasks[run.position(slot)]
    start = run.first_start.get(slot, 0)
    text, until = f"the worker of try {run.tries[slot]} runs", 0
    if task.HasField("execution_timeout") and start:
        until = start + times.from_duration(task.execution_timeout)
        text += f"; its execution_timeout ends it at {times.text(until)}"
    return _plain(run, slot, Code.RUNNING, text, until=until)


def _deferred(run: Run, slot: int) -> Reason:
    deferral = run.deferrals.get(slot)
    trigger = deferral.trigger_class if deferral is not None else "its trigger"
    text, until = f"{trigger.rpartition('.')[2]} has not fired", 0
    if deferral is not None and deferral.HasField("timeout"):
        until = parties.since(run, slot) + times.from_duration(deferral.timeout)
        text += f"; it gives up at {times.text(until)}"
    return _plain(run, slot, Code.DEFERRED, text, until=until, holders=[parties.named("trigger", trigger)])


def _undecided(run: Run, slot: int, human: HumanRequest) -> Reason:
    until = times.from_timestamp(human.deadline)
    text = f"{', '.join(human.assignees) or 'a person'} has to decide: {human.subject}"
    if until:
        text += f"; at {times.text(until)} " + ("the default is taken" if human.defaults else "it fails")
    holders = [parties.named("person", name) for name in human.assignees[: parties.MOST]]
    return _plain(run, slot, Code.DECISION_PENDING, text, until=until, holders=holders)
