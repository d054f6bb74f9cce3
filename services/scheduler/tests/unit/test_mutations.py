"""Every invariant of the simulation can fail: with a bug put into the scheduler, it is found within some seeds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from spinner_eventlog.interface import Transient
from spinner_eventlog.memory import MemoryTransactionalProducer
from spinner_eventlog.owned_partition import OwnedPartition
from spinner_proto.events.v1.events_pb2 import WorkflowEvents
from spinner_scheduler.adapters import machine, recovery, standby
from spinner_scheduler.domain import (
    assets,
    backfills,
    commands,
    core,
    decision,
    evolve,
    explain,
    reports,
    runs,
    snapshots,
    watchers,
)
from spinner_scheduler.domain.backfill import DONE, Backfill
from spinner_scheduler.domain.pools import Pool
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.domain.states import DEFERRED, QUEUED, RUNNING, SUCCESS
from spinner_scheduler.domain.timers import Kind, Timers
from spinner_scheduler.simulation import executor, processes, world
from spinner_scheduler.simulation.scenario import draw
from spinner_scheduler.simulation.shrinking import simulate
from spinner_scheduler.simulation.violations import INVARIANTS

Patch = pytest.MonkeyPatch
SEEDS = 60


def intervals_twice(patch: Patch) -> None:
    """A scheduled run is made again under another id."""
    original = runs.create

    def create(d: Any, dag: Any, layout: Any, run_id: str, tick: Any, run_type: int, *more: Any, **named: Any) -> Any:
        made = original(d, dag, layout, run_id, tick, run_type, *more, **named)
        if run_type == 1 and tick.logical % 7 == 0:
            original(d, dag, layout, f"{run_id}x", tick, run_type, *more, **named)
        return made

    patch.setattr(runs, "create", create)


def intervals_missed(patch: Patch) -> None:
    """One interval in five makes no run."""
    original = runs.create

    def create(d: Any, dag: Any, layout: Any, run_id: str, tick: Any, run_type: int, *more: Any, **named: Any) -> Any:
        if run_type != 1 or tick.logical // 60_000_000 % 5:
            return original(d, dag, layout, run_id, tick, run_type, *more, **named)
        return None

    patch.setattr(runs, "create", create)


def retries_keep_their_number(patch: Patch) -> None:
    """A retry is ordered under the key of the try before it."""
    original = decision.Decision.order

    def order(self: Any, order: Any) -> None:
        if order.try_key.try_number > 1:
            order.try_key.try_number -= 1
        original(self, order)

    patch.setattr(decision.Decision, "order", order)


def segments_keep_their_number(patch: Patch) -> None:
    """The executor is asked to launch the same segment again after another one."""
    original = executor.SimulatedExecutor._follow

    def follow(self: Any, key: str, order: Any) -> None:
        if order is not None and order.desired_state == 1 and order.segment:
            order.segment = 0
        original(self, key, order)

    patch.setattr(executor.SimulatedExecutor, "_follow", follow)


def ends_count_twice(patch: Patch) -> None:
    """The end of a try that ended already is taken once more."""
    original = decision.Decision.task_ended

    def task_ended(self: Any, run: Any, ended: Any) -> None:
        original(self, run, ended)
        if ended.state == SUCCESS and len(ended.task_id) % 2 == 0 and ended.try_number == 2:
            original(self, run, ended)

    patch.setattr(decision.Decision, "task_ended", task_ended)


def ends_without_record(patch: Patch) -> None:
    """Marking a running task leaves no execution record."""
    original = runs.end_try

    def end_try(d: Any, *arguments: Any, **named: Any) -> None:
        before = list(d.result.executions)
        original(d, *arguments, **named)
        d.result.executions[:] = before

    for module in (runs, commands, reports):
        if hasattr(module, "end_try"):
            patch.setattr(module, "end_try", end_try)


def old_timers_ring(patch: Patch) -> None:
    """A retry's timer rings although the task has ended meanwhile, and starts it again."""
    applies, pop = PartitionState.applies, Timers.pop_due
    patch.setattr(
        PartitionState,
        "applies",
        lambda self, timer: applies(self, timer) or (timer.kind == Kind.RETRY and _run(self, timer)),
    )

    def pop_due(self: Any, now: int) -> Any:
        found = pop(self, now)
        if found is not None and found.kind == Kind.RETRY and found.segment == 0:
            self.add(found._replace(due=found.due + 40_000_000, segment=1))
        return found

    patch.setattr(Timers, "pop_due", pop_due)


def _run(state: PartitionState, timer: Any) -> bool:
    dag = state.dags.get(timer.dag_id)
    run = dag.runs.get(timer.run_id) if dag is not None else None
    return run is not None and run.states[timer.slot] == SUCCESS


def pools_give_one_more(patch: Patch) -> None:
    patch.setattr(Pool, "free", lambda self: self.slots - self.used - self.granted + 1)


def runs_without_limit(patch: Patch) -> None:
    patch.setattr(PartitionState, "max_active_tasks", lambda self, layout: 1_000)


def slots_are_kept(patch: Patch) -> None:
    """Who ends does not give its slot back to a pool of another partition."""
    for module in (runs, reports, commands):
        if hasattr(module, "withdraw"):
            patch.setattr(module, "withdraw", lambda d, run, slot: None)


def ends_are_ignored(patch: Patch) -> None:
    """The end of one task is never taken."""
    original = reports._ended

    def ended(d: Any, dag: Any, run: Any, slot: int, report: Any) -> None:
        if report.try_key.task_id != "t3":
            original(d, dag, run, slot, report)

    patch.setattr(reports, "_ended", ended)


def sleepers_are_not_explained(patch: Patch) -> None:
    """Nothing is said of tries whose trigger has not fired."""
    original = explain.held

    def held(view: Any, run: Any, slot: int, thorough: bool) -> Any:
        return () if run.states[slot] == DEFERRED else original(view, run, slot, thorough)

    patch.setattr(explain, "held", held)


def nobody_wakes_who_waits(patch: Patch) -> None:
    patch.setattr(core, "release_parked", lambda d: False)


def orders_are_left(patch: Patch) -> None:
    """The order of each third try is not tombstoned."""
    original = decision.Decision.tombstone

    def tombstone(self: Any, key: Any) -> None:
        if key.try_number != 2:
            original(self, key)

    patch.setattr(decision.Decision, "tombstone", tombstone)


def commands_are_taken_again(patch: Patch) -> None:
    """Who has asked before is not remembered."""
    original = commands.handle

    def handle(d: Any, command: Any) -> None:
        d.state.request_ids.clear()
        original(d, command)

    patch.setattr(core.commands, "handle", handle)


def a_change_without_event(patch: Patch) -> None:
    """A decision changes the state beside its events."""
    original = reports._started

    def started(d: Any, run: Any, slot: int, report: Any) -> None:
        original(d, run, slot, report)
        run.free[slot] = 1

    patch.setattr(reports, "_started", started)


def snapshots_forget(patch: Patch) -> None:
    """A run's snapshot lacks what its branches decided."""
    patch.setattr(snapshots, "_TABLES", tuple(name for name in snapshots._TABLES if name != "skips"))


def zombies_commit(patch: Patch) -> None:
    """Nothing fences an owner that was replaced."""
    original = MemoryTransactionalProducer.commit

    def commit(self: Any, *arguments: Any, **named: Any) -> Any:
        self._epoch = self._log.broker.epochs[self._id]
        return original(self, *arguments, **named)

    patch.setattr(MemoryTransactionalProducer, "commit", commit)


def what_was_decided_ahead_goes_on(patch: Patch) -> None:
    """A transaction was aborted, and the next, decided upon it, is written all the same."""

    def land(self: Any) -> None:
        (decided, future), self._flight = self._flight, None
        try:
            self._landed(decided, future.result())
        except Transient:
            for handled, _, _ in decided.sizes:
                if handled:
                    self._machine._flights.popleft()
        if self._next.sizes:
            self._launch()

    patch.setattr(OwnedPartition, "_land", land)


def what_was_decided_ahead_is_remembered(patch: Patch) -> None:
    """A transaction was aborted, and the next owner's memory begins with what was decided upon it."""
    kept: dict[Any, Any] = {}
    close, restore = OwnedPartition.close, machine.SchedulerMachine.restore

    def closing(self: Any) -> None:
        if self._machine is not None and self._next.sizes:
            kept[self._recipe.log.process.world, self._machine.name] = self._machine.state
        close(self)

    def restoring(self: Any) -> None:
        restore(self)
        if hasattr(self._log, "process"):
            self.state = kept.pop((self._log.process.world, self.name), self.state)

    patch.setattr(OwnedPartition, "close", closing)
    patch.setattr(machine.SchedulerMachine, "restore", restoring)


def what_was_decided_ahead_is_not_read_again(patch: Patch) -> None:
    """A transaction was aborted, and reading goes on after the batch that was decided upon it."""
    kept: dict[Any, int] = {}
    close, opened = OwnedPartition.close, OwnedPartition.open

    def closing(self: Any) -> None:
        if self._next.position is not None:
            kept[self._recipe.log.process.world, self.topic, self.partition] = self._next.position
        close(self)

    def opening(self: Any) -> None:
        opened(self)
        position = kept.pop((self._recipe.log.process.world, self.topic, self.partition), self.position)
        self._reader.seek(self.topic, self.partition, max(self.position, position))

    patch.setattr(OwnedPartition, "close", closing)
    patch.setattr(OwnedPartition, "open", opening)


def standbys_stop_early(patch: Patch) -> None:
    """What was written after a standby's last look is not read when it takes over."""
    original = machine.SchedulerMachine.restore

    def restore(self: Any) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(recovery, "catch_up", lambda *arguments: None)
            follower = self._standby.take(*self._place) if self._standby is not None else None
            if follower is None:
                inner.undo()
            else:
                inner.setattr(self._standby, "take", lambda *place: follower)
            original(self)

    patch.setattr(machine.SchedulerMachine, "restore", restore)


def standbys_pass_over_clears(patch: Patch) -> None:
    """A standby does not follow tasks that begin again."""
    original = standby.Follower.event

    def event(self: Any, record: Any) -> None:
        kinds = {each.WhichOneof("kind") for each in record.decode(WorkflowEvents).events}
        if "task_cleared" not in kinds:
            original(self, record)

    patch.setattr(standby.Follower, "event", event)


def standbys_think_all_is_saved(patch: Patch) -> None:
    """Who takes over from a standby writes no snapshots of what the last owner had not saved."""
    original = standby.Standby.take

    def take(self: Any, *place: int) -> Any:
        follower = original(self, *place)
        if follower is not None:
            follower.restored.unsaved.clear()
        return follower

    patch.setattr(standby.Standby, "take", take)


def deliveries_count_twice(patch: Patch) -> None:
    """A DAG takes an update of an asset for a new one each time that it hears of it."""
    original = assets._delivered

    def delivered(d: Any, key: Any, delivery: Any) -> None:
        original(d, key, delivery)
        original(d, key, delivery)

    patch.setattr(assets, "_delivered", delivered)


def updates_are_kept(patch: Patch) -> None:
    """A run takes nothing from what its DAG keeps."""
    patch.setitem(evolve._RARE, "assets_consumed", lambda *arguments: None)


def watchers_are_not_remembered(patch: Patch) -> None:
    """A report that comes twice counts twice."""
    numbers = itertools.count()
    patch.setattr(watchers, "event_hash", lambda event_id: next(numbers))


def updates_skip_numbers(patch: Patch) -> None:
    original = evolve._RARE["asset_event"]

    def asset_event(state: Any, dag_id: str, run_id: str, event: Any) -> None:
        original(state, dag_id, run_id, event)
        if event.asset_event.HasField("updated"):
            state.asset((event.asset_event.alias, event.asset_event.name)).last_sequence += 1

    patch.setitem(evolve._RARE, "asset_event", asset_event)


def partitions_are_forgotten(patch: Patch) -> None:
    """A process does not take up each partition that it is given."""
    original = processes.PartitionLoop._assigned

    def assigned(self: Any, partitions: Any) -> None:
        original(self, [at for at in partitions if at[1] == 0 or self._log.process.number])

    patch.setattr(processes.PartitionLoop, "_assigned", assigned)


def holders_are_miscounted(patch: Patch) -> None:
    original = Run.set_state

    def set_state(self: Any, slot: int, new: int) -> int:
        old = original(self, slot, new)
        if (old, new) == (QUEUED, RUNNING):
            self.holding -= 1
        return old

    patch.setattr(Run, "set_state", set_state)


def work_for_ever(patch: Patch) -> None:
    """A snapshot is due again at once."""
    patch.setattr(machine.SchedulerMachine, "next_due", lambda self: self._partition_saved_at)
    patch.setattr(world, "_MOST_TURNS", 3_000)


def backfills_never_begin(patch: Patch) -> None:
    patch.setattr(backfills, "advance", lambda d, dag: None)


def backfills_end_twice(patch: Patch) -> None:
    original = backfills._change

    def change(d: Any, dag: Any, backfill: Any, new: int, *more: Any) -> None:
        original(d, dag, backfill, new, *more)
        if new == DONE:
            original(d, dag, backfill, new, *more)

    patch.setattr(backfills, "_change", change)
    patch.setattr(Backfill, "change", lambda self, new: setattr(self, "state", new))


def backfills_lose_an_interval(patch: Patch) -> None:
    original = backfills.remaining
    patch.setattr(backfills, "remaining", lambda layout, backfill, now: original(layout, backfill, now)[1:])


# What shows that inputs were lost.
LOST = {"each_command_is_answered_once", "every_run_ends", "slots_come_back", "no_order_is_left"}
# Bug, and what finds it.
BUGS: list[tuple[Callable[[Patch], None], set[str]]] = [
    (intervals_twice, {"one_run_per_interval"}),
    (intervals_missed, {"no_interval_missed"}),
    (retries_keep_their_number, {"no_try_ordered_twice"}),
    (segments_keep_their_number, {"no_try_launched_twice"}),
    (ends_count_twice, {"a_try_ends_once"}),
    (ends_without_record, {"one_execution_record"}),
    (old_timers_ring, {"finished_stays_finished"}),
    (pools_give_one_more, {"limits_hold"}),
    (runs_without_limit, {"limits_hold"}),
    (slots_are_kept, {"slots_come_back"}),
    (ends_are_ignored, {"every_run_ends"}),
    (nobody_wakes_who_waits, {"nothing_is_forgotten"}),
    (sleepers_are_not_explained, {"what_waits_is_explained"}),
    (orders_are_left, {"no_order_is_left"}),
    (commands_are_taken_again, {"each_command_is_answered_once"}),
    (a_change_without_event, {"fold_equals_live_state", "snapshots_equal_live_state"}),
    (snapshots_forget, {"snapshots_equal_live_state"}),
    (zombies_commit, {"one_writer"}),
    (what_was_decided_ahead_goes_on, {"fold_equals_live_state", "snapshots_equal_live_state", *LOST}),
    (what_was_decided_ahead_is_remembered, {"fold_equals_live_state", "snapshots_equal_live_state"}),
    (what_was_decided_ahead_is_not_read_again, LOST),
    (standbys_stop_early, {"standby_equals_live_state"}),
    (standbys_pass_over_clears, {"standby_equals_live_state"}),
    (standbys_think_all_is_saved, {"snapshots_equal_live_state"}),
    (deliveries_count_twice, {"an_update_reaches_a_dag_once"}),
    (updates_are_kept, {"an_update_counts_for_one_run"}),
    (watchers_are_not_remembered, {"watchers_count_each_event_once"}),
    (updates_skip_numbers, {"updates_are_numbered"}),
    (partitions_are_forgotten, {"each_partition_has_one_owner"}),
    (holders_are_miscounted, {"sums_agree"}),
    (work_for_ever, {"comes_to_rest"}),
    (backfills_never_begin, {"every_backfill_ends"}),
    (backfills_end_twice, {"a_backfill_ends_once"}),
    (backfills_lose_an_interval, {"backfills_take_each_interval_once"}),
]


@pytest.mark.parametrize(("bug", "wanted"), BUGS, ids=[bug.__name__ for bug, _ in BUGS])
def test_a_bug_is_found(bug: Callable[[Patch], None], wanted: set[str], monkeypatch: Patch) -> None:
    bug(monkeypatch)
    seen = []
    for seed in range(1, SEEDS + 1):
        seen.append(simulate(draw(seed)).violated)
        if seen[-1] in wanted:
            return
    pytest.fail(f"not found in {SEEDS} seeds: {seen}")


def test_each_invariant_has_its_bug() -> None:
    assert set(INVARIANTS) == set().union(*(wanted for _, wanted in BUGS))
