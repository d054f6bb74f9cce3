"""Pools within a partition and between partitions."""

from __future__ import annotations

from spinner_proto.common.v1.common_pb2 import Outcome
from spinner_proto.inbox.v1.inbox_pb2 import InboxMessage, PoolMessage
from spinner_scheduler.domain.pools import Address, owner_of

INBOX = "scheduler_inbox-spinner_tier_1"


def pool_dag(lab, tasks: int, pool: str, slots: int = 1):  # type: ignore[no-untyped-def]
    made = lab.dag()
    for number in range(tasks):
        made.tasks.add(task_id=f"t{number}", pool=pool, pool_slots=slots)
    lab.publish(made)
    lab.trigger()


def change(pool: str, slots: int, include_deferred: bool = False) -> InboxMessage:
    message = InboxMessage(pool=PoolMessage(pool=pool))
    message.pool.changed.slots = slots
    message.pool.changed.include_deferred = include_deferred
    return message


def test_own_pool_is_never_over_its_slots(lab) -> None:  # type: ignore[no-untyped-def]
    lab.take(change("p", 5))
    pool_dag(lab, 4, "p", slots=2)
    while lab.ordered():
        assert len(lab.ordered()) <= 2
        lab.end(lab.ordered()[0])
    assert lab.run_state() == "success"
    assert lab.state.pools["p"].used == 0


def test_tasks_of_an_undeclared_pool_wait_until_it_exists(lab) -> None:  # type: ignore[no-untyped-def]
    pool_dag(lab, 2, "later")
    assert lab.ordered() == [] and set(lab.states().values()) == {"scheduled"}
    lab.take(change("later", 1))
    assert len(lab.ordered()) == 1


def test_growing_a_pool_starts_more(lab) -> None:  # type: ignore[no-untyped-def]
    lab.take(change("p", 1))
    pool_dag(lab, 3, "p")
    assert len(lab.ordered()) == 1
    lab.take(change("p", 3))
    assert len(lab.ordered()) == 3


def test_deferred_tasks_hold_slots_only_if_the_pool_says_so(lab) -> None:  # type: ignore[no-untyped-def]
    for include, expected in ((False, 1), (True, 0)):
        lab.take(change(f"p{include}", 1, include))
        made = lab.dag(dag_id=f"dag{include}")
        for number in range(2):
            made.tasks.add(task_id=f"t{number}", pool=f"p{include}")
        lab.publish(made)
        lab.trigger(f"r{include}", made.dag_id)
        (first,) = lab.ordered(f"r{include}")
        order = lab.order(first, f"r{include}")
        lab.take(InboxMessage(task_report=lab.report(order, 3, deferred={"trigger_class": "t"})))
        assert len(lab.ordered(f"r{include}")) == expected


class Pair:
    """Two partitions that pass each other's messages."""

    def __init__(self, make_lab) -> None:  # type: ignore[no-untyped-def]
        self.labs = [make_lab(here=Address(INBOX, number), pool_partitions=2) for number in range(2)]
        names = (f"pool{number}" for number in range(100))
        self.pool = next(
            name for name in names if owner_of(name, Address("", 9), "spinner", (1,), 2) == Address(INBOX, 0)
        )
        self.owner, self.asker = self.labs

    def deliver(self) -> None:
        while any(lab.messages for lab in self.labs):
            for lab in self.labs:
                messages, lab.messages = lab.messages, []
                for to, _, message in messages:
                    self.labs[to.partition].take(message)


def test_slots_are_granted_across_partitions_and_given_back(make_lab) -> None:  # type: ignore[no-untyped-def]
    pair = Pair(make_lab)
    pair.owner.take(change(pair.pool, 2))
    pool_dag(pair.owner, 1, pair.pool)
    pool_dag(pair.asker, 3, pair.pool)
    assert pair.asker.ordered() == []
    pair.deliver()
    assert (len(pair.owner.ordered()), len(pair.asker.ordered())) == (1, 1)
    while pair.asker.ordered():
        pair.asker.end(pair.asker.ordered()[0])
        pair.deliver()
        assert len(pair.owner.ordered()) + len(pair.asker.ordered()) <= 2
    assert pair.asker.run_state() == "success"
    pool = pair.owner.state.pools[pair.pool]
    assert (pool.used, pool.granted, pool.requests) == (1, 0, {})


def test_a_withdrawn_request_leaves_no_slot_behind(make_lab) -> None:  # type: ignore[no-untyped-def]
    pair = Pair(make_lab)
    pair.owner.take(change(pair.pool, 1))
    pool_dag(pair.asker, 2, pair.pool)
    pair.deliver()
    # One runs, one has asked. The run is stopped before its grant could come.
    pair.asker.command(stop_run={"run_id": "run"})
    pair.asker.end(
        pair.asker.orders and next(iter(pair.asker.orders.values())).try_key.task_id, Outcome.OUTCOME_KILLED_BY_USER
    )
    pair.deliver()
    pool = pair.owner.state.pools[pair.pool]
    assert (pool.granted, pool.requests) == (0, {})


def test_a_late_grant_of_a_withdrawn_request_is_not_taken_for_the_next_one(make_lab) -> None:  # type: ignore[no-untyped-def]
    pair = Pair(make_lab)
    pair.owner.take(change(pair.pool, 1))
    pool_dag(pair.asker, 1, pair.pool)
    requests, pair.asker.messages = pair.asker.messages, []
    pair.owner.take(*(message for _, _, message in requests))
    # The grant is on its way; meanwhile the task is cleared and asks anew.
    pair.asker.command(clear_tasks={"run_id": "run"})
    grants, pair.owner.messages = pair.owner.messages, []
    pair.asker.take(*(message for _, _, message in grants))
    assert pair.asker.ordered() == []
    pair.deliver()
    assert pair.asker.ordered() == ["t0"]
    assert pair.owner.state.pools[pair.pool].granted == 1


def test_default_pool_is_per_partition(make_lab) -> None:  # type: ignore[no-untyped-def]
    pair = Pair(make_lab)
    pool_dag(pair.asker, 2, "")
    assert len(pair.asker.ordered()) == 2 and pair.asker.messages == []
