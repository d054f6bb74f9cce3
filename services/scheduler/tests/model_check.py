"""One case of the model check: a random DAG, one run of it, random ends in random order; scheduler against oracle.

`make model-check CASES=1000000` has Hypothesis draw many, on all cores, and makes what disagrees as small as it can be.
A case is drawn from a string of bytes, since drawing each choice on its own would take longer than playing the case.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable

from hypothesis import HealthCheck, given, seed, settings, strategies
from spinner_proto.common.v1.common_pb2 import Outcome, RunState
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition, TriggerRule
from spinner_proto.events.v1.events_pb2 import WorkflowEvent
from spinner_proto.inbox.v1.inbox_pb2 import Command, DefinitionPublished, InboxMessage, TaskReport, TriggerRun
from spinner_proto.orders.v1.orders_pb2 import TaskOrder
from spinner_scheduler.domain.core import decide
from spinner_scheduler.domain.layout import Layouts
from spinner_scheduler.domain.limits import Limits
from spinner_scheduler.domain.pools import Address
from spinner_scheduler.domain.state import PartitionState

from services.scheduler.tests.oracle import RUN, Oracle, state_name

# Gives a number from 0 to below its argument.
Choose = Callable[[int], int]

_OUTCOMES = [Outcome.OUTCOME_SUCCESS] * 3 + [Outcome.OUTCOME_FAILED, Outcome.OUTCOME_SKIPPED]
_RULES = [rule for rule in TriggerRule.values() if rule]


class DisagreementError(AssertionError):
    """The scheduler and the oracle differ."""


def random_definition(choose: Choose) -> DagDefinition:
    dag = DagDefinition(dag_id="d", version="v1", max_active_tasks=1000)
    dag.schedule.none.SetInParent()
    count = 1 + choose(7)
    special = choose(4)
    if special == 1 and count >= 3:
        dag.task_groups.add(group_id="g").map_length.literal = choose(4)
    for number in range(count):
        task = dag.tasks.add(task_id=f"t{number}", reports_length=choose(2) == 0)
        task.upstream.extend(above for above in range(number) if choose(3) == 0)
        if choose(2) == 0:
            task.trigger_rule = _RULES[choose(len(_RULES))]
        task.inline_success = choose(8) == 0 and special != 3
        if special == 1 and count >= 3 and number in (1, 2):
            task.group_id = "g"
        elif special == 2 and choose(3) == 0:
            _map(dag, number, choose)
    if special == 3 and count >= 3:
        _scope(dag, choose)
    return dag


def _map(dag: DagDefinition, number: int, choose: Choose) -> None:
    task = dag.tasks[number]
    givers = [
        above for above in task.upstream if dag.tasks[above].reports_length or dag.tasks[above].HasField("map_length")
    ]
    kind = choose(6)
    if givers and kind < 3:
        task.map_length.task = givers[choose(len(givers))]
    elif givers and kind == 3:
        name = ("product", "zip_shortest", "zip_longest", "concat")[choose(4)]
        items = getattr(task.map_length, name).items
        items.add().literal = choose(3)
        items.add().task = givers[choose(len(givers))]
    else:
        task.map_length.literal = choose(4)


def _scope(dag: DagDefinition, choose: Choose) -> None:
    """A setup, its teardown below it, and work between them."""
    last = len(dag.tasks) - 1
    setup, teardown = dag.tasks[0], dag.tasks[last]
    setup.is_setup = True
    teardown.is_teardown = True
    teardown.on_failure_fail_dagrun = choose(3) == 0
    teardown.trigger_rule = TriggerRule.TRIGGER_RULE_ALL_DONE_SETUP_SUCCESS
    teardown.setups.append(0)
    if 0 not in teardown.upstream:
        teardown.upstream.insert(0, 0)


class Case:
    """Plays a definition through. `run` raises DisagreementError."""

    def __init__(self, dag: DagDefinition, choose: Choose) -> None:
        self._choose = choose
        self._dag = dag
        self._oracle = Oracle(dag)
        self._orders: dict[str, TaskOrder] = {}
        self._run_state = 0
        self._now = 1_760_000_000_000_000
        limits = Limits(default_pool_slots=10_000)
        self._state = PartitionState(Layouts(lambda dag_id, version: dag), Address("inbox", 0), limits=limits)

    def run(self) -> None:
        self._take(InboxMessage(definition_published=DefinitionPublished(dag_id="d", version="v1")))
        command = Command(request_id="r", dag_id="d", trigger_run=TriggerRun(run_id="run"))
        self._take(InboxMessage(command=command))
        while self._orders:
            key = list(self._orders)[self._choose(len(self._orders))]
            self._take(InboxMessage(task_report=self._end(self._orders[key])))
        oracle = self._oracle
        left = [key for key, state in oracle.states.items() if state in ("none", "scheduled", "queued")]
        self._require(not left, f"these never ended: {left}")
        self._require(
            self._run_state == oracle.outcome(),
            f"the run became {RunState.Name(self._run_state)}, not {RunState.Name(oracle.outcome())}",  # type: ignore[arg-type]
        )

    def _end(self, order: TaskOrder) -> TaskReport:
        report = TaskReport(try_key=order.try_key, segment=order.segment, sequence=3)
        outcome = (Outcome.OUTCOME_SUCCESS, Outcome.OUTCOME_FAILED, Outcome.OUTCOME_SKIPPED)[
            (0, 0, 0, 1, 2)[self._choose(5)]
        ]
        report.ended.outcome = outcome
        report.ended.return_length = self._choose(4) if order.reports_length else -1
        if outcome == Outcome.OUTCOME_SUCCESS and self._choose(4) == 0:
            below = self._oracle.below(order.try_key.task_id)
            report.ended.skip_task_ids.extend(name for name in below if self._choose(2))
        key = (order.try_key.task_id, order.try_key.map_index)
        if outcome == Outcome.OUTCOME_SUCCESS and report.ended.return_length >= 0:
            self._oracle.lengths[key[0]] = report.ended.return_length
        return report

    def _take(self, message: InboxMessage) -> None:
        self._now += 1_000_000
        result = decide(self._state, [message], self._now)
        for record in result.records:
            for event in record.events:
                self._judge(event)
        for key, order in result.orders.items():
            if order is None:
                self._orders.pop(key, None)
            else:
                self._orders[key] = order
        if self._run_state == RunState.RUN_STATE_RUNNING:
            self._require(not self._oracle.undecided(), f"nothing was decided about {self._oracle.undecided()}")

    # -- the scheduler's decisions -----------------------------------------------------------------------------------

    def _judge(self, event: WorkflowEvent) -> None:
        oracle, kind = self._oracle, event.WhichOneof("kind")
        if kind == "run_state_changed":
            self._run_state = event.run_state_changed.state
        elif kind == "task_skip_decided":
            decided = event.task_skip_decided
            source = (decided.by_task_id, decided.by_map_index)
            oracle.skips += [(source, task_id) for task_id in decided.task_ids]
        elif kind == "task_expanded":
            self._expanded(event.task_expanded.task_id, event.task_expanded.length)
        elif kind == "task_ended":
            ended = event.task_ended
            key = (ended.task_id, ended.map_index)
            if oracle.states[key] == "none":
                # Without a worker.
                self._require(oracle.verdict(key) == RUN, f"{key} ended, the oracle says {oracle.verdict(key)}")
            oracle.states[key] = state_name(ended.state)
        elif kind == "task_state_changed":
            changed = event.task_state_changed
            self._changed((changed.task_id, changed.map_index), state_name(changed.state))

    def _changed(self, key: tuple[str, int], new: str) -> None:
        oracle = self._oracle
        before = oracle.states.get(key)
        self._require(before is not None, f"{key} became {new}, but there is no such instance")
        if before == "none":
            said = oracle.verdict(key)
            if new in ("scheduled", "queued"):
                self._require(said == RUN, f"{key} became {new}, the oracle says {said}")
            elif new not in said.split("|"):
                self._require(self._by_length(key, new), f"{key} became {new}, the oracle says {said}")
        elif before == "scheduled" and new == "skipped":
            self._require(oracle.is_skipped(key), f"{key} was skipped while it waited, and nobody decided so")
        oracle.states[key] = new

    def _by_length(self, key: tuple[str, int], new: str) -> bool:
        """Whether a mapped task gets its state because it can't be expanded: length 0 or unknown."""
        oracle = self._oracle
        if key[1] >= 0 or oracle.length_of(key[0]) is None:
            return False
        length = oracle.expansion(key[0])
        wanted = {None: "upstream_failed", 0: "skipped"}.get(length, "")
        group = oracle.mapped_group(key[0])
        # The first of a group to get it takes the others along.
        members = [name for name in oracle.ids if group and oracle.mapped_group(name) == group and name != key[0]]
        along = any(oracle.states.get((name, -1)) == wanted for name in members)
        return new == wanted and (oracle.may_expand(key[0]) or along)

    def _expanded(self, task_id: str, length: int) -> None:
        oracle = self._oracle
        group = oracle.mapped_group(task_id)
        members = [name for name in oracle.ids if group and oracle.mapped_group(name) == group]
        along = any((name, 0) in oracle.states for name in members)
        self._require(oracle.may_expand(task_id) or along, f"{task_id} was expanded before its time")
        self._require(
            oracle.expansion(task_id) == length, f"{task_id} has length {length}, not {oracle.expansion(task_id)}"
        )
        self._require(oracle.states.pop((task_id, -1)) == "none", f"{task_id} was expanded after it got a state")
        for index in range(length):
            oracle.states[(task_id, index)] = "none"

    def _require(self, holds: bool, text: str) -> None:
        if not holds:
            raise DisagreementError(f"{text}\nstates: {self._oracle.states}\n{self._dag}")


# -- many cases --------------------------------------------------------------------------------------------------------

# Bytes that a case may be drawn from; what it asks for beyond them is 0.
TAPE_BYTES = 128
# Cases of one Hypothesis engine, which remembers all that it has drawn.
_CHUNK = 5_000


def play_tape(tape: bytes) -> None:
    """Plays the case that the bytes stand for: each choice takes the next. Raises DisagreementError."""
    rest = iter(tape)

    def choose(below: int) -> int:
        return next(rest, 0) % below

    Case(random_definition(choose), choose).run()


def check(start: int, cases: int) -> tuple[int, str]:
    """Has Hypothesis draw so many cases from a seed; returns how many were played, and the smallest that disagrees."""
    played = 0

    @seed(start)
    @settings(max_examples=cases, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategies.binary(min_size=TAPE_BYTES, max_size=TAPE_BYTES))
    def agree(tape: bytes) -> None:
        nonlocal played
        played += 1
        play_tape(tape)

    try:
        agree()
    except DisagreementError as error:
        return played, str(error)
    return played, ""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The scheduler against its oracle, on cases that Hypothesis draws")
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1, help="the first; each 5,000 cases have the next")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    sizes = [min(_CHUNK, options.cases - done) for done in range(0, options.cases, _CHUNK)]
    played = disagreements = 0
    with multiprocessing.Pool(options.processes) as pool:
        jobs = [(options.seed + number, size) for number, size in enumerate(sizes)]
        for count, text in pool.imap(_check, jobs):
            played += count
            if text:
                disagreements += 1
                print(text, flush=True)
    seconds = time.monotonic() - started
    print(
        f"cases={played} seeds={options.seed}..{options.seed + len(sizes) - 1} disagreements={disagreements} "
        f"seconds={seconds:.0f} cases_per_s={played / seconds:.0f}"
    )
    return 1 if disagreements else 0


def _check(job: tuple[int, int]) -> tuple[int, str]:
    return check(*job)


if __name__ == "__main__":
    sys.exit(main())
