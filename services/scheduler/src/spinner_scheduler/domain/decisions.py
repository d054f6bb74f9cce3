"""Decisions by people (B4): a task that asks for one waits in the state DEFERRED, without a worker or a trigger.

Its order stays as it was, since the executor has already reported the end of its segment. The answer, or the time-out,
queues the next segment with what was decided; the first of the two counts.
"""

from __future__ import annotations

import json

from spinner_proto.common.v1.common_pb2 import Actor
from spinner_proto.inbox.v1.inbox_pb2 import Command, DecideTask, HumanRequest

from spinner_scheduler.domain import times
from spinner_scheduler.domain.clearing import find_run
from spinner_scheduler.domain.dag_state import DagState
from spinner_scheduler.domain.decision import Decision
from spinner_scheduler.domain.refusals import Rejected
from spinner_scheduler.domain.reports import resume
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.states import DEFERRED, TASK_STATE_NAMES

PARAMS_LIMIT_BYTES = 64 * 1024


def asked(run: Run, slot: int) -> HumanRequest | None:
    """What an instance asks a person, None when it waits for no decision."""
    if slot < 0 or run.states[slot] != DEFERRED or slot in run.cancelled:
        return None
    deferral = run.deferrals.get(slot)
    return deferral.human if deferral is not None and deferral.HasField("human") else None


def decide(d: Decision, dag: DagState, command: Command) -> tuple[str, int]:
    """Takes a person's answer. Raises Rejected."""
    wish: DecideTask = command.decide_task
    run = find_run(d.state, dag, wish.run_id)
    slot = run.slot(wish.task_id, wish.map_index)
    name = f"task {wish.task_id}" + (f" [{wish.map_index}]" if wish.map_index >= 0 else "")
    if slot < 0:
        raise Rejected("TASK_NOT_FOUND", f"run {run.run_id} of {dag.dag_id} has no {name}: check its id and map index")
    human = asked(run, slot)
    if human is None:
        state = TASK_STATE_NAMES.get(run.states[slot], "mapped")
        raise Rejected(
            "NOT_WAITING",
            f"{name} of run {run.run_id} of {dag.dag_id} waits for no decision, it is {state}: see whether somebody "
            "has decided already",
        )
    _check(human, wish, command.actor, name)
    params = json.loads(wish.params_json) if wish.params_json else {}
    answer(d, run, slot, list(wish.chosen_options), params, command.actor, wish.note)
    return run.run_id, 1


def _check(human: HumanRequest, wish: DecideTask, actor: Actor, name: str) -> None:
    person = actor.name.removeprefix("user:")
    if human.assignees and person not in [assignee.removeprefix("user:") for assignee in human.assignees]:
        raise Rejected(
            "NOT_ASSIGNED",
            f"{person or 'nobody'} may not decide {name}, which is assigned to {', '.join(human.assignees)}: "
            "ask one of them",
        )
    unknown = [option for option in wish.chosen_options if option not in human.options]
    if unknown:
        raise Rejected(
            "INVALID_ARGUMENT", f"{name} has no option {unknown[0]!r}: choose from {', '.join(human.options)}"
        )
    if human.options and not wish.chosen_options:
        raise Rejected("INVALID_ARGUMENT", f"no option of {name} is chosen: choose from {', '.join(human.options)}")
    if len(wish.chosen_options) > 1 and not human.multiple:
        raise Rejected("INVALID_ARGUMENT", f"{name} takes one option, not {len(wish.chosen_options)}: choose one")
    try:
        valid = isinstance(json.loads(wish.params_json or b"{}"), dict)
    except ValueError:
        valid = False
    if not valid or len(wish.params_json) > PARAMS_LIMIT_BYTES:
        raise Rejected(
            "INVALID_ARGUMENT", f"the form of {name} must be a JSON object of at most 64 KiB: send name → value"
        )


def answer(
    d: Decision, run: Run, slot: int, options: list[str], params: object, actor: Actor | None, note: str = ""
) -> None:
    """Queues the next segment with what was decided; without an actor, by time-out."""
    payload = {
        "chosen_options": options,
        "params_input": params,
        "decided_by": actor.name if actor is not None else "",
        "decided_time": times.text(d.now),
        "timed_out": actor is None,
        "note": note,
    }
    resume(d, run, slot, json.dumps(payload, separators=(",", ":")).encode(), actor=actor)


def time_out(d: Decision, run: Run, slot: int, human: HumanRequest) -> None:
    """Nobody decided in time: the defaults are taken, or the task goes on with an error."""
    if human.defaults or (not human.options and human.params_json):
        values = json.loads(human.params_json or b"{}")
        params = {name: param.get("value") for name, param in values.items()}
        answer(d, run, slot, list(human.defaults), params, None)
    else:
        resume(d, run, slot, error="timeout: nobody decided, and the request has no default")
