"""What a run must do next, found from scratch: slow, without counters, and written from Airflow's words.

The scheduler decides by counters that it keeps while things change. This looks at the states of all upstream task
instances anew for each question, so that it can be believed by reading it. It is asked about each decision that the
scheduler made (was it right, given what was known at that moment?), and after each step about each task instance
that has no state yet (is it right that nothing was decided?).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from spinner_proto.common.v1.common_pb2 import RunState, TaskState
from spinner_proto.definitions.v1.definitions_pb2 import DagDefinition, MapLength, TriggerRule

Key = tuple[str, int]
WAIT, RUN = "wait", "run"

_NAMES = {value: name.removeprefix("TASK_STATE_").lower() for name, value in TaskState.items()}
_DONE = ("success", "failed", "skipped", "upstream_failed")
_RULES = {value: name.removeprefix("TRIGGER_RULE_").lower() for name, value in TriggerRule.items()}


def by_rule(rule: str, above: Sequence[str], setups: Sequence[str]) -> str:
    """What a trigger rule says, given the states of the upstream instances: WAIT, RUN or the state it gets.

    `setups`: the states of the setups that a teardown belongs to.
    """
    done = [state for state in above if state in _DONE]
    all_done = len(done) == len(above)
    succeeded, skipped = "success" in done, "skipped" in done
    failed = "failed" in done or "upstream_failed" in done
    only_skips = bool(above) and all(state == "skipped" for state in above)
    if not above:
        return RUN
    if rule in ("all_success", "unspecified"):
        if failed:
            return "upstream_failed"
        return "skipped" if skipped else (RUN if all_done else WAIT)
    if rule == "all_failed":
        if succeeded or skipped:
            return "skipped"
        return RUN if all_done else WAIT
    if rule == "all_done":
        return RUN if all_done else WAIT
    if rule == "all_done_setup_success":
        if not all_done:
            return WAIT
        if setups and all(state == "skipped" for state in setups):
            return "skipped"
        return RUN if not setups or "success" in setups else "upstream_failed"
    if rule == "all_done_min_one_success":
        if not all_done:
            return WAIT
        if succeeded:
            return RUN
        return "skipped" if only_skips else "upstream_failed"
    if rule == "all_skipped":
        if succeeded or failed:
            return "skipped"
        return RUN if all_done else WAIT
    if rule == "one_success":
        if succeeded:
            return RUN
        if not all_done:
            return WAIT
        return "skipped" if only_skips else "upstream_failed"
    if rule == "one_failed":
        if failed:
            return RUN
        return "skipped" if all_done else WAIT
    if rule == "one_done":
        if succeeded or "failed" in done:
            return RUN
        return "skipped" if all_done else WAIT
    if rule == "none_failed":
        if failed:
            return "upstream_failed"
        return RUN if all_done else WAIT
    if rule == "none_failed_min_one_success":
        if failed:
            return "upstream_failed"
        if only_skips:
            return "skipped"
        return RUN if all_done else WAIT
    if rule == "none_skipped":
        if skipped:
            return "skipped"
        return RUN if all_done else WAIT
    assert rule == "always", rule
    return RUN


@dataclass
class Oracle:
    """A run by its definition and what has happened. A task that is not expanded has the instance −1."""

    dag: DagDefinition
    states: dict[Key, str] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    # (deciding instance, task that it skips)
    skips: list[tuple[Key, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ids = [task.task_id for task in self.dag.tasks]
        self.task = {task.task_id: task for task in self.dag.tasks}
        self.above = {task.task_id: [self.ids[place] for place in task.upstream] for task in self.dag.tasks}
        self.states = {(task_id, -1): "none" for task_id in self.ids}

    # -- structure -------------------------------------------------------------------------------------------------

    def mapped_group(self, task_id: str) -> str:
        groups = {group.group_id: group for group in self.dag.task_groups}
        name = self.task[task_id].group_id
        while name and not groups[name].HasField("map_length"):
            name = groups[name].parent_id
        return name

    def length_of(self, task_id: str) -> MapLength | None:
        group = self.mapped_group(task_id)
        if group:
            return next(item.map_length for item in self.dag.task_groups if item.group_id == group)
        return self.task[task_id].map_length if self.task[task_id].HasField("map_length") else None

    def instances(self, task_id: str) -> list[Key]:
        found = [key for key in self.states if key[0] == task_id and key[1] >= 0]
        return found or [(task_id, -1)]

    def same_index(self, one: str, other: str) -> bool:
        """Whether two tasks are expanded together."""
        return bool(self.mapped_group(one)) and self.mapped_group(one) == self.mapped_group(other)

    def concerning(self, above: str, key: Key) -> list[Key]:
        """The instances of a task that an instance depends on."""
        found = self.instances(above)
        if key[1] >= 0 and self.same_index(above, key[0]) and found[0][1] >= 0:
            return [(above, key[1])]
        return found

    def ancestors(self, task_id: str) -> set[str]:
        found: set[str] = set()
        for above in self.above[task_id]:
            found |= {above} | self.ancestors(above)
        return found

    def below(self, task_id: str) -> list[str]:
        return [other for other in self.ids if task_id in self.above[other]]

    def scope_setups(self, task_id: str) -> list[str]:
        """Setups above a task, not directly, that it must wait for: those without teardown, or with one below it."""
        if self.task[task_id].is_teardown:
            return []
        found = []
        for setup in self.ancestors(task_id) - set(self.above[task_id]):
            if not self.task[setup].is_setup:
                continue
            teardowns = [other for other in self.below(setup) if self.task[other].is_teardown]
            if not teardowns or any(task_id in self.ancestors(teardown) for teardown in teardowns):
                found.append(setup)
        return found

    # -- decisions -------------------------------------------------------------------------------------------------

    def is_skipped(self, key: Key) -> bool:
        for source, target in self.skips:
            together = source[1] >= 0 and key[1] >= 0 and self.same_index(source[0], key[0])
            if target == key[0] and self.states[source] == "success" and (not together or source[1] == key[1]):
                return True
        return False

    def verdict(self, key: Key) -> str:
        """What should become of an instance that has no state: WAIT, RUN, or a state."""
        task = self.task[key[0]]
        if self.is_skipped(key):
            return "skipped"
        above = [self.states[one] for name in self.above[key[0]] for one in self.concerning(name, key)]
        setups = [self.states[one] for place in task.setups for one in self.concerning(self.ids[place], key)]
        said = by_rule(_RULES[task.trigger_rule], above, setups)
        if said == RUN:
            around = [self.states[one] for setup in self.scope_setups(key[0]) for one in self.concerning(setup, key)]
            if "failed" in around or "upstream_failed" in around or "skipped" in around:
                return "|".join(
                    sorted(
                        {
                            "skipped" if state == "skipped" else "upstream_failed"
                            for state in around
                            if state in ("failed", "upstream_failed", "skipped")
                        }
                    )
                )
            if any(state not in _DONE for state in around):
                return WAIT
        return said

    def expansion(self, task_id: str) -> int | None:
        """The length that a mapped task or its group expands to now; None: unknown."""
        length = self.length_of(task_id)
        assert length is not None
        return self._evaluate(length)

    def _evaluate(self, length: MapLength) -> int | None:
        kind = length.WhichOneof("kind")
        if kind == "literal":
            return length.literal
        if kind == "task":
            name = self.ids[length.task]
            found = self.instances(name)
            if found[0][1] >= 0:
                return len([key for key in found if self.states[key] == "success"])
            return self.lengths.get(name) if self.states[found[0]] == "success" else None
        items = [self._evaluate(item) for item in getattr(length, kind or "").items]
        if any(item is None for item in items):
            return None
        known = [item for item in items if item is not None]
        ways: dict[str, Callable[[list[int]], int]] = {
            "zip_shortest": lambda all_: min(all_, default=0),
            "zip_longest": lambda all_: max(all_, default=0),
            "concat": sum,
        }
        if kind == "product":
            result = 1
            for item in known:
                result *= item
            return result
        return ways[kind or ""](known)

    def may_expand(self, task_id: str) -> bool:
        """Whether the expansion is due: the task, or one of its mapped group, may run."""
        group = self.mapped_group(task_id)
        members = [other for other in self.ids if group and self.mapped_group(other) == group] or [task_id]
        return any(self.states.get((member, -1)) == "none" and self.verdict((member, -1)) == RUN for member in members)

    def undecided(self) -> list[tuple[Key, str]]:
        """Instances without a state about which something could be decided now."""
        found = []
        for key, state in self.states.items():
            if state == "none" and (said := self.verdict(key)) != WAIT:
                found.append((key, said))
        return found

    def outcome(self) -> int:
        """How the run ends, when all its instances have: by the leaves; teardowns don't count unless they say so."""
        ignored = [task.task_id for task in self.dag.tasks if task.is_teardown and not task.on_failure_fail_dagrun]
        leaves = [
            name for name in self.ids if name not in ignored and all(below in ignored for below in self.below(name))
        ]
        bad = any(self.states[key] in ("failed", "upstream_failed") for name in leaves for key in self.instances(name))
        return RunState.RUN_STATE_FAILED if bad else RunState.RUN_STATE_SUCCESS


def state_name(state: int) -> str:
    return _NAMES[state]  # type: ignore[index]
