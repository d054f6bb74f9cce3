"""Why is nothing running: the complete list of what a DAG, a run or a task waits for, read from the live state.

Never empty for what waits, empty for what has ended. It decides nothing: `blockers` and `tasks` are asked, the same
functions that decide. Bounded: of a large run at most `MOST_EXAMINED` instances are asked one by one, the rest is
counted by state.
"""

from __future__ import annotations

from spinner_proto.explain.v1.explain_pb2 import Explanation, Reason, Subject

from spinner_scheduler.domain import (
    assets,
    backfills,
    blockers,
    deadlines,
    parties,
    schedules,
    times,
    timetable_requests,
)
from spinner_scheduler.domain.asset_state import AssetKey
from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.explain_task import Held, View, held, layout_pending, paused, reason, version_pending
from spinner_scheduler.domain.finished_runs import revive
from spinner_scheduler.domain.layout import Layout
from spinner_scheduler.domain.reasons import CATALOGUE, Code
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.runs import last_tick
from spinner_scheduler.domain.state import DEADLINE_OPEN, PartitionState
from spinner_scheduler.domain.states import (
    EXPANDED,
    FINISHED,
    NONE,
    REMOVED,
    RUN_QUEUED,
    RUN_RUNNING,
    RUN_STATE_NAMES,
    TASK_STATE_NAMES,
)

# About 5 µs each.
MOST_EXAMINED = 20_000


class UnknownError(Exception):
    """The subject is not known here. `code` is stable, `fix` says what to do."""

    def __init__(self, code: str, message: str, fix: str) -> None:
        super().__init__(message)
        self.code, self.fix = code, fix


def explain(state: PartitionState, subject: Subject, now: int) -> Explanation:
    """What the subject waits for at `now` (µs). Raises UnknownError."""
    dag = state.dags.get(subject.dag_id)
    if dag is None or not dag.version:
        raise UnknownError(
            "DAG_NOT_FOUND",
            f"DAG {subject.dag_id!r} is not known to partition {parties.of_partition(state.here).name}",
            "check its id, and the parse errors of its file",
        )
    now = max(now, state.now)
    found = Explanation(time=times.to_timestamp(now), partition=parties.of_partition(state.here).name)
    found.subject.CopyFrom(subject)
    view = View(state, dag, now, {})
    if not subject.run_id:
        found.state = "removed" if dag.removed else "paused" if dag.paused else "active"
        found.reasons.extend(of_dag(view))
        return found
    run = dag.runs.get(subject.run_id) or revive(state, dag, subject.run_id)
    if run is None:
        raise UnknownError(
            "RUN_NOT_FOUND",
            f"run {subject.run_id!r} of {dag.dag_id} is not known: it does not exist, or has ended long ago",
            f"check its id: spinner runs list {dag.dag_id}",
        )
    if not subject.task_id:
        found.state = RUN_STATE_NAMES.get(run.state, "")
        found.reasons.extend(of_run(view, run))
        return found
    _of_task(view, run, subject, found)
    return found


# -- DAGs --------------------------------------------------------------------------------------------------------


def of_dag(view: View) -> list[Reason]:
    """Why the DAG's next run has not been made."""
    state, dag, now = view.state, view.dag, view.now
    said = dag.updated
    changed = times.from_timestamp(said.version_time)
    if dag.removed:
        return [reason(Code.DAG_REMOVED, f"DAG {dag.dag_id} is no longer in its bundle", since=changed)]
    found: list[Reason] = []
    held_all = blockers.scheduling(state, dag)
    if held_all is blockers.DAG_PAUSED:
        found.append(paused(dag))
    layout = state.layout_of(dag)
    if layout is None:
        text = f"{dag.dag_id}@{dag.version} is not in workflow_definitions"
        return [*found, reason(Code.DEFINITION_MISSING, text, since=changed)]
    found.extend(_backfills(view))
    found.extend(_held(view))
    if assets.condition(layout.definition) is not None:
        found.extend(_assets(view, layout, held_all is None))
        if not said.HasField("next_run_time"):
            return found
    held_tick = blockers.next_tick(state, dag, layout, now)
    if held_tick is not None:
        found.extend(_tick(view, layout, held_tick))
    elif held_all is None:
        due = times.from_timestamp(said.next_run_time)
        found.append(reason(Code.NEXT_DECISION, "its next run is due and about to be made", since=due))
    found.extend(_skipped(view, layout))
    return found


def _assets(view: View, layout: Layout, alive: bool) -> list[Reason]:
    """Which assets and aliases the DAG has no update of yet."""
    dag = view.dag
    since = min((times.from_timestamp(update.time) for update in dag.updates), default=0)
    since = since or times.from_timestamp(dag.updated.version_time)
    code = assets.held(dag, layout, view.now)
    if code is None:
        text = "its assets are updated, and its run is about to be made"
        return [reason(Code.NEXT_DECISION, text, since=since)] if alive else []
    if code == Code.END_DATE_PASSED:
        end = times.from_timestamp(layout.definition.end_date)
        text = f"its end_date {times.text(end)} is reached: updates of its assets make no run any more"
        return [reason(code, text, dag=dag.dag_id, since=end)]
    wanted = assets.leaves(assets.condition(layout.definition))
    found = _partitions(view, layout, sorted(wanted))
    if dag.ignored is not None:
        update = dag.ignored.update
        text = f"update {update.sequence} of asset {update.asset} counts for no run: {dag.ignored.ignored_reason}"
        at = times.from_timestamp(update.time)
        found.append(reason(Code.ASSET_UPDATE_IGNORED, text, dag=dag.dag_id, since=at, note=True))
    if dag.partitioned:
        return found
    missing = sorted(wanted - {assets.key_of(update) for update in dag.updates})
    text = f"{len(missing)} of its {len(wanted)} assets have not been updated since its latest run"
    holders = [parties.named("asset", f"alias {name}" if alias else name) for alias, name in missing]
    return [reason(code, text, dag=dag.dag_id, since=since, holders=holders, holder_count=len(holders)), *found]


# Runs of partitions that are told one by one.
_MOST_PARTITIONS = 20


def _partitions(view: View, layout: Layout, wanted: list[AssetKey]) -> list[Reason]:
    """What the runs of partitions wait for that have some of their updates."""
    schedule, dag = assets.partitioned(layout), view.dag
    if schedule is None:
        return []
    found = []
    for key, kept in list(dag.partitioned.items())[:_MOST_PARTITIONS]:
        code = assets.held(dag, layout, view.now, key)
        if code is None:
            continue
        holders, words = [], []
        for asset in wanted:
            missing = assets.missing_keys(schedule, asset, kept)
            name = f"alias {asset[1]}" if asset[0] else asset[1]
            if missing is None or missing:
                holders.append(parties.named("asset", name))
                some = ", ".join((missing or [])[:3]) + (", …" if missing and len(missing) > 3 else "")
                words.append(name if missing is None else f"{name} ({len(missing)} keys: {some})")
        since = min(times.from_timestamp(update.time) for update in kept.values())
        text = f"partition {key} waits for {', '.join(words)}"
        found.append(reason(code, text, dag=dag.dag_id, since=since, holders=holders, holder_count=len(holders)))
    if len(dag.partitioned) > len(found) == _MOST_PARTITIONS:
        text = f"{len(dag.partitioned) - len(found)} more partitions wait"
        found.append(reason(Code.ASSET_PARTITION_PENDING, text, dag=dag.dag_id))
    return found


def _backfills(view: View) -> list[Reason]:
    """What keeps the backfills of the DAG from taking up their next intervals."""
    state, dag = view.state, view.dag
    found = []
    for backfill in dag.backfills.values():
        layout = state.layouts.get(dag.dag_id, backfill.created.version)
        if backfill.ended or layout is None:
            continue
        left = len(backfills.remaining(layout, backfill, view.now))
        blocked = blockers.next_of_backfill(dag, backfill)
        if blocked is None or not left:
            continue
        holders = [parties.named("backfill", backfill.backfill_id)]
        if blocked is blockers.BACKFILL_MAX_ACTIVE_RUNS:
            active = (run for run in dag.runs.values() if run.backfill_id == backfill.backfill_id)
            holders += parties.first(parties.of_run(run) for run in active)
            why = f"as many of its runs are active as its max_active_runs {backfill.created.request.max_active_runs}"
        else:
            why = "it is paused"
        text = f"{left} intervals of backfill {backfill.backfill_id} wait: {why}"
        found.append(reason(blocked.code, text, dag=dag.dag_id, holders=holders))
    return found


def _held(view: View) -> list[Reason]:
    """Commands that wait for the custom timetable."""
    found = []
    for command in view.dag.held.values():
        what = "its run by hand" if command.HasField("trigger_run") else "its backfill"
        text = (
            f"{what} asked for by {command.actor.name or 'somebody'} waits for its timetable to say the data interval"
        )
        since = times.from_timestamp(command.time)
        found.append(reason(Code.TIMETABLE_ANSWER_PENDING, text, dag=view.dag.dag_id, since=since, note=True))
    return found


def _skipped(view: View, layout: Layout) -> list[Reason]:
    """Intervals that became due while something held the next run, and will get none."""
    said = view.dag.updated
    due, planned = times.from_timestamp(said.next_run_time), times.from_timestamp(said.next_logical_date)
    if layout.definition.catchup or not due or due > view.now:
        return []
    tick, _ = view.dag.timetable(layout.definition).next(last_tick(said), view.now)
    if tick is None or tick.logical <= planned:
        return []
    text = f"catchup is off: intervals from {times.text(planned)} to {times.text(tick.logical)} get no run"
    return [reason(Code.CATCHUP_OFF, text, dag=view.dag.dag_id, since=due, note=True)]


def _tick(view: View, layout: Layout, held_tick: blockers.Blocker) -> list[Reason]:
    dag, said, definition = view.dag, view.dag.updated, layout.definition
    name, changed = dag.dag_id, times.from_timestamp(said.version_time)
    if held_tick is blockers.NO_NEXT_RUN:
        tick, why = dag.timetable(definition).next(last_tick(said), view.now)
        if tick is not None:
            return [reason(Code.NEXT_DECISION, "its next run is about to be planned", since=changed)]
        since = times.from_timestamp(said.last_scheduled_interval_end) or changed
        known = dag.evaluated
        if schedules.is_evaluated(definition) and (known is None or known.version != definition.version):
            text = f"the custom timetable of version {definition.version} has not been evaluated yet"
            return [reason(Code.TIMETABLE_NOT_EVALUATED, text, dag=name, since=changed)]
        asked = timetable_requests.pending(dag) if schedules.is_evaluated(definition) else 0
        if asked:
            after = times.text(times.from_timestamp(said.last_scheduled_logical_date))
            text = f"it waits for the next part of its timetable, the runs after {after}"
            return [reason(Code.TIMETABLE_PART_PENDING, text, dag=name, since=asked)]
        return [reason(why.code, why.text, dag=name, since=since)]
    due = times.from_timestamp(said.next_run_time)
    last = times.from_timestamp(said.last_scheduled_interval_end)
    if held_tick.code == Code.NOT_DUE:
        start = times.from_timestamp(definition.start_date)
        if start > view.now:
            text = f"its start_date {times.text(start)} is in the future; the first run is due at {times.text(due)}"
            return [reason(Code.START_DATE_AHEAD, text, dag=name, since=changed, until=due)]
        text = (
            f"its next run, of {times.text(times.from_timestamp(said.next_logical_date))}, is due at {times.text(due)}"
        )
        return [reason(Code.NOT_DUE, text, dag=name, since=last or changed, until=due)]
    active = [parties.of_run(run) for run in _active(dag)]
    if definition.schedule.HasField("continuous"):
        text = "the run before has not ended, and @continuous has one at a time"
        return [reason(Code.PREVIOUS_RUN_ACTIVE, text, dag=name, since=due, holders=active)]
    text = f"a run is due since {times.text(due)}, but {len(active)} runs are active or queued: max_active_runs is "
    text += str(view.state.max_active_runs(layout))
    return [reason(Code.MAX_ACTIVE_RUNS, text, dag=name, since=due, holders=active)]


def _active(dag: DagState, queued: bool = True) -> list[Run]:
    states = (RUN_RUNNING, RUN_QUEUED) if queued else (RUN_RUNNING,)
    found = [run for run in dag.runs.values() if run.state in states and not run.backfill_id]
    return sorted(found, key=lambda run: (run.state != RUN_RUNNING, run.priority_date, run.run_id))


# -- runs --------------------------------------------------------------------------------------------------------


def of_run(view: View, run: Run) -> list[Reason]:
    """Why the run has not started or not ended."""
    if run.state == RUN_QUEUED:
        return [*_of_queued(view, run), *_deadlines(run)]
    found: list[Reason] = []
    if run.state == RUN_RUNNING and view.dag.paused:
        found.append(paused(view.dag))
    if run.rebind:
        found.append(version_pending(run))
    if run.state == RUN_RUNNING and run.awaiting_layout:
        found.append(layout_pending(run))
    elif run.unfinished:
        found.extend(grouped(view, run, [slot for slot in range(len(run.states)) if not FINISHED[run.states[slot]]]))
    elif run.state == RUN_RUNNING:
        found.append(reason(Code.NEXT_DECISION, "all its tasks have ended; its end is about to be decided"))
    definition = run.layout.definition
    if run.state == RUN_RUNNING and definition.HasField("dagrun_timeout"):
        due = run.start + times.from_duration(definition.dagrun_timeout)
        text = f"it fails at {times.text(due)}, when its dagrun_timeout is over"
        found.append(reason(Code.RUN_TIMEOUT_AHEAD, text, dag=run.dag_id, since=run.start, until=due, note=True))
    return [*_distinct(found), *(_deadlines(run) if run.state == RUN_RUNNING else [])]


def _deadlines(run: Run) -> list[Reason]:
    """When the run, or one of its tasks, is to have ended."""
    found = []
    for index, state in run.deadline_states.items():
        deadline, due = run.layout.definition.deadlines[index], run.deadlines[index]
        what = f"deadline {deadline.name or index + 1}" + (f" of {deadline.task_id}" if deadline.task_id else "")
        if state in DEADLINE_OPEN:
            risk = ", and the runs before took longer" if state == deadlines.AT_RISK else ""
            text = f"{what} is at {times.text(due)}{risk}"
            found.append(reason(Code.DEADLINE_AHEAD, text, dag=run.dag_id, until=due, note=True))
        elif state == deadlines.MISSED:
            text = f"{what} was missed at {times.text(due)}"
            found.append(reason(Code.DEADLINE_MISSED, text, dag=run.dag_id, since=due, note=True))
    return found


def _of_queued(view: View, run: Run) -> list[Reason]:
    since = run.state_time or run.priority_date
    found: list[Reason] = []
    if blockers.run_start(view.state, view.dag, run) is blockers.DAG_PAUSED:
        found.append(paused(view.dag))
    room = blockers.room(view.state, view.dag, run)
    if room is not None and run.backfill_id:
        found.append(_of_backfill(view, run, room, since))
    elif room is not None:
        active = _active(view.dag, queued=False)
        most = blockers.most_active(view.state, view.dag, run)
        before = sum(1 for other in view.dag.runs.values() if other.state == RUN_QUEUED and _order(other) < _order(run))
        text = f"{len(active)} runs of {run.dag_id} are active, max_active_runs is {most}"
        if before:
            text += f"; {before} queued runs are before it"
        holders = [parties.of_run(other) for other in active]
        found.append(reason(Code.MAX_ACTIVE_RUNS, text, dag=run.dag_id, since=since, holders=holders))
    if not found:
        found.append(reason(Code.NEXT_DECISION, "it is about to be started", dag=run.dag_id, since=since))
    return found


def _of_backfill(view: View, run: Run, room: blockers.Blocker, since: int) -> Reason:
    members = [other for other in view.dag.runs.values() if other.backfill_id == run.backfill_id]
    active = [parties.of_run(other) for other in members if other.state == RUN_RUNNING]
    if room is blockers.BACKFILL_PAUSED:
        return reason(room.code, f"backfill {run.backfill_id} is paused", dag=run.dag_id, since=since)
    text = f"{len(active)} runs of backfill {run.backfill_id} are active, which is as many as it may have"
    return reason(room.code, text, dag=run.dag_id, since=since, holders=active)


def _order(run: Run) -> tuple[int, int, str]:
    return (run.priority_date, run.logical, run.run_id)


def _distinct(found: list[Reason]) -> list[Reason]:
    """What holds the whole run once, and not again of its tasks."""
    whole = {one.code: one for one in reversed(found) if not one.waiting_count}
    return [one for one in found if whole.get(one.code) is one or (one.waiting_count and one.code not in whole)]


# -- task instances ------------------------------------------------------------------------------------------------


def _of_task(view: View, run: Run, subject: Subject, found: Explanation) -> None:
    index = subject.map_index if subject.HasField("map_index") else -1
    slot = run.slot(subject.task_id, index)
    if slot < 0 or run.states[slot] == REMOVED:
        what = f"task {subject.task_id!r}" + (f" [{index}]" if index >= 0 else "")
        raise UnknownError(
            "TASK_NOT_FOUND",
            f"run {run.run_id} of {run.dag_id} has no {what}",
            f"see its tasks: spinner tasks list {run.dag_id} {run.run_id}",
        )
    if run.states[slot] == EXPANDED:
        found.state = "mapped"
        found.reasons.extend(grouped(view, run, run.instances[slot]))
    else:
        found.state = TASK_STATE_NAMES.get(run.states[slot], "")
        found.reasons.extend(one.build() for one in held(view, run, slot, thorough=True))
    if run.state == RUN_QUEUED and found.reasons:
        found.reasons.extend(_of_queued(view, run))
        reasons = _distinct(list(found.reasons))
        del found.reasons[:]
        found.reasons.extend(reasons)


def grouped(view: View, run: Run, slots: list[int]) -> list[Reason]:
    """The reasons of several instances: each once, with who waits for it."""
    groups: dict[tuple[Code, str], Reason] = {}
    moving = [slot for slot in slots if run.states[slot] != NONE]
    still = [slot for slot in slots if run.states[slot] == NONE]
    examined = [*moving, *still][:MOST_EXAMINED]
    for slot in examined:
        for one in held(view, run, slot, thorough=False):
            _join(groups, run, slot, one)
    left = len(slots) - len(examined)
    for (code, key), group in groups.items():
        if group.waiting_count > 1:
            entry = CATALOGUE[code]
            group.message = f"{group.waiting_count} task instances: {entry.title}" + (f" ({key})" if key else "")
            group.fix = entry.fix.format(dag=run.dag_id, run=run.run_id, task="TASK", pool=key)
        else:
            group.message = f"{group.waiting[0].name}: {group.message}"
    found = list(groups.values())
    if left:
        text = f"{left} more task instances wait: {CATALOGUE[Code.NOT_EXAMINED].title}"
        rest = reason(Code.NOT_EXAMINED, text, dag=run.dag_id, run=run.run_id, since=run.start)
        rest.waiting_count = left
        found.append(rest)
    return sorted(found, key=lambda one: one.code == Code.UPSTREAM_NOT_DONE)


def _join(groups: dict[tuple[Code, str], Reason], run: Run, slot: int, one: Held) -> None:
    key = (one.code, one.key)
    group = groups.get(key)
    if group is None:
        group = groups[key] = one.build()
    elif group.waiting_count < parties.MOST:
        _merge(group, one.build())
    group.waiting_count += 1
    if len(group.waiting) < parties.MOST:
        group.waiting.append(parties.of_task(run, slot))


def _merge(group: Reason, other: Reason) -> None:
    """Adds what another instance waits for: its holders, the earlier since, the earlier until."""
    if other.HasField("since") and other.since.ToNanoseconds() < group.since.ToNanoseconds():
        group.since.CopyFrom(other.since)
    if other.HasField("until") and other.until.ToNanoseconds() < group.until.ToNanoseconds():
        group.until.CopyFrom(other.until)
    known = {(party.kind, party.name, party.run_id) for party in group.holders}
    for party in other.holders:
        if (party.kind, party.name, party.run_id) not in known and len(group.holders) < parties.MOST:
            group.holders.append(party)
            group.holder_count = max(group.holder_count, len(group.holders))


# -- pools ---------------------------------------------------------------------------------------------------------


def explain_pool(state: PartitionState, name: str, now: int) -> Explanation:
    """Who holds the slots of a pool that this partition owns. Raises UnknownError."""
    pool = state.pools.get(name)
    if pool is None or not pool.owned:
        raise UnknownError(
            "POOL_NOT_FOUND",
            f"pool {name!r} is not known to partition {parties.of_partition(state.here).name}",
            f"create it: spinner pools set {name} SLOTS",
        )
    found = Explanation(time=times.to_timestamp(max(now, state.now)))
    found.partition = parties.of_partition(state.here).name
    blocked = blockers.pool(pool, 1)
    if blocked is None:
        found.state = "free"
        return found
    found.state = "full"
    holders, taken = parties.holders_of_pool(state, pool)
    texts = {
        Code.POOL_MISSING: f"pool {name} does not exist",
        Code.POOL_HAS_NO_SLOTS: f"pool {name} has 0 slots",
    }
    text = texts.get(blocked.code, f"{taken} of {pool.slots} slots of pool {name} are taken")
    found.reasons.append(reason(blocked.code, text, pool=name, holders=holders))
    return found
