"""All that a scheduler partition knows: DAGs, their runs, pools, answered commands.

Only `evolve` changes it. Entities (a DAG, a run, a pool) evolve independently of each other by their own events;
everything that sums over entities (`active`, `held_by_task`, pool usage, timers, queues) is derived: added when an
entity is added, kept while it changes, so that entities may be restored from snapshots of different ages.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable
from statistics import median

from spinner_proto.events.v1.events_pb2 import DeadlineState

from spinner_scheduler.domain import snapshots, times
from spinner_scheduler.domain.asset_state import AssetKey, AssetState, asset_text
from spinner_scheduler.domain.dag_state import FEWEST_FOR_MEDIAN, DagState, Sleeper
from spinner_scheduler.domain.layout import BACKFILL_POOL, DEFAULT_POOL, Layout, Layouts
from spinner_scheduler.domain.limits import Limits
from spinner_scheduler.domain.pools import NO_REQUEST, Address, Pool, owner_of
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.states import (
    DEFERRED,
    EXPANDED,
    HOLDING,
    QUEUED,
    RESTARTING,
    RUN_QUEUED,
    RUN_RUNNING,
    RUN_SUCCESS,
    RUNNING,
    SCHEDULED,
    UP_FOR_RESCHEDULE,
    UP_FOR_RETRY,
)
from spinner_scheduler.domain.timers import Kind, Timer, Timers

# States of deadlines that are still to be met.
DEADLINE_OPEN = (int(DeadlineState.DEADLINE_STATE_PENDING), int(DeadlineState.DEADLINE_STATE_AT_RISK))


class PartitionState:
    """See the module. `now` (µs) is the time of the latest decision or event and never goes back."""

    def __init__(
        self,
        layouts: Layouts,
        here: Address,
        *,
        cluster: str = "spinner",
        tiers: tuple[int, ...] = (1,),
        pool_partitions: int = 1,
        limits: Limits | None = None,
    ) -> None:
        self.layouts = layouts
        self.here = here
        self.cluster = cluster
        self.tiers = tiers
        self.pool_partitions = pool_partitions
        self.limits = limits or Limits()
        self.now = 0
        # The time of the event that is applied, in µs and s: the same in replay as it was live.
        self.event_time = self.event_seconds = 0
        self.dags: dict[str, DagState] = {}
        self.pools: dict[str, Pool] = {
            DEFAULT_POOL: Pool(DEFAULT_POOL, slots=self.limits.default_pool_slots),
            BACKFILL_POOL: Pool(BACKFILL_POOL, slots=self.limits.backfill_pool_slots),
        }
        self.assets: dict[AssetKey, AssetState] = {}
        # Pools of other partitions: whether they keep the slots of deferred tasks, as their grants say.
        self.foreign_deferred: dict[str, bool] = {}
        self.last_request = 0
        self.request_ids: OrderedDict[str, None] = OrderedDict()
        self.timers = Timers()
        self.dirty_runs: dict[int, Run] = {}
        self.live: dict[int, Run] = {}
        # DAGs whose runs sleep, and what those are: see Sleeper.
        self.asleep: dict[str, DagState] = {}
        self.sleeping_runs = 0
        self.sleeping_tasks = 0
        # Finished runs that were decoded lately.
        self.decoded: OrderedDict[tuple[str, str], Run] = OrderedDict()
        # DAGs that may have room for runs that are queued.
        self.promotable: dict[str, None] = {}
        # Instances that stopped holding a slot of their task's limit, since this was last looked at.
        self.freed: list[tuple[Run, int]] = []
        self._prune_at = 10_000
        # Runs that were forgotten; whoever keeps snapshots removes theirs and empties this.
        self.dropped: list[tuple[str, str]] = []

    def at(self, time: int) -> None:
        """Says when the events that follow happened, µs."""
        self.now = max(self.now, time)
        self.event_time = time
        self.event_seconds = time // times.SECOND

    def settled(self) -> None:
        """Says that the events so far are whole decisions: what had to be looked at because of them, was."""
        for run in self.dirty_runs.values():
            run.dirty.clear()
        self.dirty_runs.clear()
        self.freed.clear()

    def prune_queues(self) -> None:
        """Drops what waits no more from the queues of pools, if there may be much: for those that never decide."""
        if sum(len(pool.queue) for pool in self.pools.values()) < self._prune_at:
            return
        for pool in self.pools.values():
            pool.queue = [
                entry
                for entry in pool.queue
                if (entry[5] in pool.requests if entry[6] is None else entry[4] in entry[6].wanted)
            ]
            heapq.heapify(pool.queue)
        self._prune_at = max(10_000, 2 * sum(len(pool.queue) for pool in self.pools.values()))

    # -- finding -----------------------------------------------------------------------------------------------

    def dag(self, dag_id: str) -> DagState:
        found = self.dags.get(dag_id)
        if found is None:
            found = self.dags[dag_id] = DagState(dag_id)
        return found

    def layout_of(self, dag: DagState) -> Layout | None:
        """The current layout of a DAG."""
        return self.layouts.get(dag.dag_id, dag.updated.version) if dag.updated.version else None

    def pool_owner(self, pool: str) -> Address:
        return owner_of(pool, self.here, self.cluster, self.tiers, self.pool_partitions)

    def pool(self, name: str) -> Pool:
        found = self.pools.get(name)
        if found is None:
            found = self.pools[name] = Pool(name, owned=self.pool_owner(name) == self.here)
        return found

    def asset_owner(self, key: AssetKey) -> Address:
        return owner_of(asset_text(key), self.here, self.cluster, self.tiers, self.pool_partitions)

    def asset(self, key: AssetKey) -> AssetState:
        found = self.assets.get(key)
        if found is None:
            found = self.assets[key] = AssetState()
        return found

    def max_active_runs(self, layout: Layout) -> int:
        return layout.definition.max_active_runs or self.limits.max_active_runs

    def max_active_tasks(self, layout: Layout) -> int:
        return layout.definition.max_active_tasks or self.limits.max_active_tasks

    @property
    def live_runs(self) -> int:
        return len(self.live) + self.sleeping_runs

    def live_task_instances(self) -> int:
        """Unfinished task instances of live runs. Another thread gets a figure that is a moment old."""
        return sum(run.unfinished for run in list(self.live.values())) + self.sleeping_tasks

    @property
    def unsettled(self) -> bool:
        """Whether something is left to do now: runs that sleep, or that may start."""
        return bool(self.asleep or self.promotable)

    # -- adding entities (evolve and restore) --------------------------------------------------------------------

    def add_run(self, dag: DagState, run: Run) -> None:
        """Makes a run live and everything derived aware of it."""
        dag.runs[run.run_id] = run
        self._register(dag, run)

    def add_sleeper(self, dag: DagState, run_id: str, sleeper: Sleeper) -> None:
        """Makes a run live without decoding it; the usage of pools must be right at once."""
        dag.asleep[run_id] = sleeper
        dag.wake = self._wake
        self.asleep[dag.dag_id] = dag
        self.know(dag, sleeper.said.logical, run_id)
        self._count_sleeper(dag, sleeper, 1)

    def _count_sleeper(self, dag: DagState, sleeper: Sleeper, change: int) -> None:
        self.sleeping_runs += change
        self.sleeping_tasks += change * sleeper.said.unfinished
        self._count(dag, sleeper.said.state, sleeper.backfill_id, change)
        for name, slots in sleeper.held:
            self.pools[name].used += change * slots

    def _wake(self, dag: DagState) -> None:
        sleepers, dag.asleep = dag.asleep, {}
        self.asleep.pop(dag.dag_id, None)
        for run_id, sleeper in sleepers.items():
            self._count_sleeper(dag, sleeper, -1)
            dag.awake[run_id] = snapshots.decode_run(sleeper.data, self.layouts)
        for run in list(dag.awake.values()):
            if id(run) not in self.live:
                self._register(dag, run)

    def rouse(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Wakes runs until all are awake or `enough` says so (asked after each DAG)."""
        while self.asleep:
            self._wake(next(iter(self.asleep.values())))
            if enough():
                return

    def _register(self, dag: DagState, run: Run) -> None:
        self.live[id(run)] = run
        self.know(dag, run.logical, run.run_id)
        self.count_run(dag, run, 1)
        dag.looking_back += run.layout.has_past
        if run.state == RUN_QUEUED:
            self.promotable[dag.dag_id] = None
        for position, held in run.task_holding.items():
            self._hold_task(dag, run.layout.task_ids[position], held)
        states = run.states
        if run.holding or states.find(DEFERRED) >= 0:
            for state in (QUEUED, RUNNING, RESTARTING, DEFERRED):
                slot = states.find(state)
                while slot >= 0:
                    self._hold_pool(run, slot, 0, state)
                    self.arm(run, slot, state)
                    slot = states.find(state, slot + 1)
        slot = states.find(SCHEDULED)
        while slot >= 0:
            self.want(run, slot)
            slot = states.find(SCHEDULED, slot + 1)
        for slot, due in run.next_time.items():
            self.timers.add(Timer(due, Kind.RETRY, run.dag_id, run.run_id, slot))
        self.arm_run(run)
        if run.dirty:
            self.dirty_runs[id(run)] = run

    def drop_run(self, dag: DagState, run: Run) -> None:
        """Takes a run out of everything derived; it may stay among the finished ones."""
        del dag.runs[run.run_id]
        del self.live[id(run)]
        self.count_run(dag, run, -1)
        dag.looking_back -= run.layout.has_past
        self.dirty_runs.pop(id(run), None)
        run.wanted.clear()

    def count_run(self, dag: DagState, run: Run, change: int) -> None:
        """Counts a run in or out, by its state."""
        self._count(dag, run.state, run.backfill_id, change)

    def _count(self, dag: DagState, state: int, backfill_id: str, change: int) -> None:
        if state not in (RUN_QUEUED, RUN_RUNNING):
            return
        if backfill_id:
            counts = dag.backfill_runs.setdefault(backfill_id, [0, 0])
            counts[state == RUN_RUNNING] += change
            if not any(counts):
                del dag.backfill_runs[backfill_id]
        elif state == RUN_QUEUED:
            dag.queued += change
        else:
            dag.active += change

    def know(self, dag: DagState, logical: int, run_id: str) -> None:
        entry = (logical, run_id)
        at = bisect_left(dag.by_date, entry)
        if at == len(dag.by_date) or dag.by_date[at] != entry:
            dag.by_date.insert(at, entry)

    def note_success(self, dag: DagState, run: Run, finished: bool) -> None:
        """Keeps `successes` to the finished runs that succeeded."""
        start = times.from_timestamp(run.facts.data_interval_start)
        end = times.from_timestamp(run.facts.data_interval_end)
        entry = (run.logical, start, end)
        if finished and run.state == RUN_SUCCESS:
            self.remember_success(dag, entry)
        elif entry in dag.successes:
            dag.successes.remove(entry)

    def remember_success(self, dag: DagState, entry: tuple[int, int, int]) -> None:
        """`entry`: logical date and data interval of a successful run."""
        if entry not in dag.successes:
            insort(dag.successes, entry)

    # -- derived: slots ------------------------------------------------------------------------------------------

    def task_changed(self, dag: DagState, run: Run, slot: int, old: int, new: int) -> None:
        """Keeps what is derived after `run.set_state`."""
        run.wanted.discard(slot)
        if HOLDING[old] and not HOLDING[new] and run.limited:
            self.freed.append((run, slot))
        if HOLDING[old] != HOLDING[new] and run.limited:
            position = run.position(slot)
            if position in run.layout.limits:
                change = HOLDING[new] - HOLDING[old]
                run.task_holding[position] = run.task_holding.get(position, 0) + change
                self._hold_task(dag, run.layout.task_ids[position], change)
        self._hold_pool(run, slot, old, new)
        if new == SCHEDULED:
            self.want(run, slot)
        else:
            self.arm(run, slot, new)
        if run.dirty:
            self.dirty_runs[id(run)] = run

    def _hold_task(self, dag: DagState, task_id: str, change: int) -> None:
        dag.held_by_task[task_id] = dag.held_by_task.get(task_id, 0) + change

    def _hold_pool(self, run: Run, slot: int, old: int, new: int) -> None:
        before = HOLDING[old] or (old == DEFERRED)
        after = HOLDING[new] or (new == DEFERRED)
        if not before and not after:
            return
        position = run.position(slot)
        pool = self.pool(run.pools[position])
        if not pool.owned:
            return
        held = HOLDING[old] or (old == DEFERRED and pool.include_deferred)
        holds = HOLDING[new] or (new == DEFERRED and pool.include_deferred)
        if held != holds:
            pool.used += (1 if holds else -1) * run.layout.pool_slots[position]

    def want(self, run: Run, slot: int) -> None:
        """Puts an instance that may run into the queue of its pool."""
        if slot in run.wanted:
            return
        run.wanted.add(slot)
        self.enqueue(run, slot)

    def enqueue(self, run: Run, slot: int) -> None:
        position = run.position(slot)
        pool = self.pool(run.pools[position])
        priority = run.layout.priorities[position]
        if run.layout.weights:
            priority = run.layout.priority(position, run.next_try(slot))
        entry = (-priority, run.priority_date, run.dag_id, run.run_id, slot, NO_REQUEST, run)
        heapq.heappush(pool.queue, entry)

    # -- derived: timers -----------------------------------------------------------------------------------------

    def arm(self, run: Run, slot: int, state: int) -> None:
        """Sets the timer that belongs to a task instance's new state."""
        if state in (UP_FOR_RETRY, UP_FOR_RESCHEDULE):
            self.timers.add(Timer(run.next_time.get(slot, self.now), Kind.RETRY, run.dag_id, run.run_id, slot))
            return
        tries, segment = run.tries[slot], run.segments[slot]
        if state == RUNNING:
            position = run.position(slot)
            if run.layout.timed[position]:
                task = run.layout.tasks[position]
                due = run.first_start.get(slot, self.now) + times.from_duration(task.execution_timeout)
                due += self.limits.backstop
                self.timers.add(Timer(due, Kind.EXECUTION_TIMEOUT, run.dag_id, run.run_id, slot, tries, segment))
        elif state == DEFERRED:
            deferral = run.deferrals.get(slot)
            if deferral is not None and deferral.human.HasField("deadline"):
                due = times.from_timestamp(deferral.human.deadline)
                self.timers.add(Timer(due, Kind.TRIGGER_TIMEOUT, run.dag_id, run.run_id, slot, tries, segment))
                return
            if deferral is not None and deferral.HasField("timeout"):
                due = self.now + times.from_duration(deferral.timeout) + self.limits.backstop
                self.timers.add(Timer(due, Kind.TRIGGER_TIMEOUT, run.dag_id, run.run_id, slot, tries, segment))
        elif state == QUEUED and (self.limits.queued_timeout or run.layout.queued_timeouts):
            timeout = run.layout.queued_timeouts.get(run.position(slot), self.limits.queued_timeout)
            if timeout:
                due = self.now + timeout
                self.timers.add(Timer(due, Kind.QUEUED_TIMEOUT, run.dag_id, run.run_id, slot, tries, segment))

    def arm_run(self, run: Run) -> None:
        definition = run.layout.definition
        if run.state == RUN_RUNNING and definition.HasField("dagrun_timeout"):
            due = run.start + times.from_duration(definition.dagrun_timeout)
            self.timers.add(Timer(due, Kind.RUN_TIMEOUT, run.dag_id, run.run_id))
        for index in run.deadlines:
            self.arm_deadline(run, index)

    def arm_deadline(self, run: Run, index: int) -> None:
        """Sets the timers of an open deadline: for itself, and for when a run that waits can't meet it any more."""
        if run.deadline_states[index] not in DEADLINE_OPEN:
            return
        due = run.deadlines[index]
        self.timers.add(Timer(due, Kind.DEADLINE, run.dag_id, run.run_id, index))
        task_id = run.layout.definition.deadlines[index].task_id
        known = [
            measured.task_durations[task_id] if task_id else measured.duration
            for measured in self.dags[run.dag_id].measured
            if not task_id or task_id in measured.task_durations
        ]
        if len(known) >= FEWEST_FOR_MEDIAN:
            last_start = due - int(median(map(times.from_duration, known)))
            self.timers.add(Timer(last_start + 1, Kind.DEADLINE_RISK, run.dag_id, run.run_id, index))

    def arm_asset(self, name: str) -> None:
        """Sets the timer of an asset's freshness."""
        asset = self.assets[(False, name)]
        due = asset.stale_at()
        if due > asset.stale_time:
            self.timers.add(Timer(due, Kind.FRESHNESS, "", name))

    def arm_dag(self, dag: DagState) -> None:
        due = times.from_timestamp(dag.updated.next_run_time)
        if due and not dag.removed:
            self.timers.add(Timer(due, Kind.NEXT_RUN, dag.dag_id))

    def applies(self, timer: Timer) -> bool:
        """Whether a timer still means something."""
        if timer.kind == Kind.FRESHNESS:
            asset = self.assets.get((False, timer.run_id))
            return asset is not None and asset.stale_time < timer.due == asset.stale_at()
        dag = self.dags.get(timer.dag_id)
        if dag is None or (dag.removed and timer.kind == Kind.NEXT_RUN):
            return False
        if timer.kind == Kind.NEXT_RUN:
            return times.from_timestamp(dag.updated.next_run_time) == timer.due
        run = dag.runs.get(timer.run_id)
        if run is None:
            return False
        if timer.kind == Kind.RUN_TIMEOUT:
            timeout = times.from_duration(run.layout.definition.dagrun_timeout)
            return run.state == RUN_RUNNING and timeout > 0 and run.start + timeout == timer.due
        slot = timer.slot
        if timer.kind == Kind.DEADLINE:
            is_open = run.deadline_states.get(slot) in DEADLINE_OPEN and run.state in (RUN_QUEUED, RUN_RUNNING)
            return is_open and run.deadlines[slot] == timer.due
        if timer.kind == Kind.DEADLINE_RISK:
            return run.state == RUN_QUEUED and run.deadline_states.get(slot) == DEADLINE_OPEN[0]
        if slot >= len(run.states) or run.states[slot] == EXPANDED:
            return False
        state = run.states[slot]
        if timer.kind == Kind.RETRY:
            return state in (UP_FOR_RETRY, UP_FOR_RESCHEDULE) and run.next_time.get(slot) == timer.due
        if (run.tries[slot], run.segments[slot]) != (timer.try_number, timer.segment):
            return False
        wanted = {Kind.EXECUTION_TIMEOUT: RUNNING, Kind.TRIGGER_TIMEOUT: DEFERRED, Kind.QUEUED_TIMEOUT: QUEUED}
        return state == wanted[Kind(timer.kind)]
