"""What waits is explained, what has ended is not, and nothing is said to be held by nothing.

Explaining reads the same state that deciding leaves behind. So a settled state in which a reason says that the next
decision takes something on is one in which that decision was forgotten.
"""

from __future__ import annotations

from spinner_proto.explain.v1.explain_pb2 import Explanation, Subject

from spinner_scheduler.domain.explain import explain
from spinner_scheduler.domain.reasons import Code
from spinner_scheduler.domain.run import Run
from spinner_scheduler.domain.state import PartitionState
from spinner_scheduler.domain.states import FINISHED, RUN_RUNNING
from spinner_scheduler.simulation.violations import ViolatedError, require


def check_explained(state: PartitionState) -> None:
    """Asks about each DAG, its live runs with all their instances, and the run that ended last."""
    due = state.timers.next_due()
    settled = not state.unsettled and not state.dirty_runs and not (due and due <= state.now)
    for dag in state.dags.values():
        if not dag.version:
            continue
        _waits(_ask(state, dag.dag_id), settled)
        for run in list(dag.runs.values()):
            found = _ask(state, dag.dag_id, run.run_id)
            _waits(found, settled)
            if run.state == RUN_RUNNING and not run.awaiting_layout:
                _each_waits(run, found)
        if dag.finished:
            ended = _ask(state, dag.dag_id, next(reversed(dag.finished)))
            if ended.reasons:
                raise ViolatedError("what_waits_is_explained", f"it has ended: {ended}")


def _ask(state: PartitionState, dag_id: str, run_id: str = "") -> Explanation:
    return explain(state, Subject(dag_id=dag_id, run_id=run_id), state.now)


def _waits(found: Explanation, settled: bool) -> None:
    codes = [reason.code for reason in found.reasons]
    require(
        bool(codes), "what_waits_is_explained", lambda: f"nothing is said of {found.subject} in state {found.state}"
    )
    forgotten = settled and Code.NEXT_DECISION in codes
    require(not forgotten, "nothing_is_forgotten", lambda: str(found))


def _each_waits(run: Run, found: Explanation) -> None:
    """Worlds are so small that every instance is named, unless the whole run stands still."""
    whole = any(not reason.waiting_count and not reason.note for reason in found.reasons)
    named = {(party.task_id, party.map_index) for reason in found.reasons for party in reason.waiting}
    for slot in run.live_slots():
        task_id, index = run.layout.task_ids[run.position(slot)], run.map_index(slot)
        if FINISHED[run.states[slot]]:
            if (task_id, index) in named:
                raise ViolatedError("what_waits_is_explained", f"{task_id} [{index}] has ended: {found}")
        elif not whole and (task_id, index) not in named:
            raise ViolatedError("what_waits_is_explained", f"not {task_id} [{index}]: {found}")
